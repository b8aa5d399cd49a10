"""A list that is used again gives the edges of a new one, bit for bit and in its order."""

import numpy as np
import pytest
from numpy.typing import NDArray

from posterion.errors import InvalidStructure
from posterion.graph.batch import Graph, build_graph
from posterion.graph.skin import SkinList
from posterion.structures.structure import Structure
from tests.support.structures import zoo

ZOO = zoo()
CUTOFF, SKIN = 4.5, 1.0
N_STEPS = 12


def assert_same(one: Graph, other: Graph) -> None:
    np.testing.assert_array_equal(one.edge_index, other.edge_index)
    for name in ("shifts", "vectors", "distances"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def folded(structure: Structure) -> NDArray[np.float64]:
    """Positions folded into the cell, as an MD code may send them."""
    if structure.cell is None or not any(structure.pbc):
        return structure.positions
    full = np.where(np.array(structure.pbc)[:, None], structure.cell, 0.0)
    fractional = structure.positions @ np.linalg.pinv(full)
    inside: NDArray[np.float64] = structure.positions - np.floor(fractional) @ full
    return inside


@pytest.mark.parametrize("name", ZOO)
def test_edges_do_not_tell_whether_the_list_was_used_again(name: str) -> None:
    structure = ZOO[name]
    neighbors, rng = SkinList(CUTOFF, SKIN), np.random.default_rng(3)
    assert neighbors.reuse(structure) is None
    assert_same(neighbors.build(structure), build_graph(structure, CUTOFF))
    n_built = 0
    drift = np.array([0.07, -0.05, 0.06])
    velocity = drift + rng.normal(scale=0.01, size=structure.positions.shape)
    for step in range(N_STEPS):
        structure = structure.moved(structure.positions + velocity)
        if step % 3 == 2:
            structure = structure.moved(folded(structure))
        graph = neighbors.reuse(structure)
        if graph is None:
            n_built += 1
            graph = neighbors.build(structure)
        assert_same(graph, build_graph(structure, CUTOFF))
    assert n_built < N_STEPS // 2


def test_half_the_skin_is_the_limit_and_a_new_cell_a_new_list() -> None:
    structure = next(each for each in ZOO.values() if each.fully_periodic and each.n_atoms > 1)
    neighbors = SkinList(CUTOFF, SKIN)
    neighbors.build(structure)
    step = np.zeros_like(structure.positions)
    step[1, 2] = 0.4999
    assert neighbors.reuse(structure.moved(structure.positions + step)) is not None
    step[1, 2] = 0.5001
    assert neighbors.reuse(structure.moved(structure.positions + step)) is None
    assert structure.cell is not None
    assert neighbors.reuse(structure.moved(structure.positions, structure.cell * 1.001)) is None
    assert neighbors.reuse(structure.moved(structure.positions, structure.cell.copy())) is not None


def test_atoms_that_meet_are_refused_as_in_a_structure_of_their_own() -> None:
    structure = Structure(
        atomic_numbers=np.array([8, 1, 1]),
        positions=np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]]),
    )
    neighbors = SkinList(CUTOFF, 3.0)
    neighbors.build(structure)
    met = structure.positions.copy()
    met[1, 0] = 0.2
    with pytest.raises(InvalidStructure) as alone:
        Structure(atomic_numbers=structure.atomic_numbers, positions=met)
    with pytest.raises(InvalidStructure) as moved:
        neighbors.reuse(structure.moved(met))
    assert moved.value.detail == alone.value.detail
    met[1, 0] = np.nan
    with pytest.raises(InvalidStructure, match="/positions/1"):
        structure.moved(met)


def test_few_edges_do_not_keep_the_memory_of_many_pairs() -> None:
    positions = np.arange(60.0)[:, None] * [3.0, 0.0, 0.0]
    chain = Structure(atomic_numbers=np.full(60, 6), positions=positions)
    neighbors = SkinList(CUTOFF, 5.0)
    graph = neighbors.build(chain)
    assert neighbors.n_pairs > 2 * graph.n_edges
    for name in ("edge_index", "shifts", "vectors", "distances"):
        assert getattr(graph, name).base is None
    neighbors.drop()
    assert neighbors.n_pairs == 0
    assert neighbors.reuse(chain) is None
