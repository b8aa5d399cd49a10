"""Neighbour pairs are those of an independent list, whatever the shape of the box."""

import numpy as np
import pytest
from ase.geometry import complete_cell as ase_complete_cell
from ase.neighborlist import primitive_neighbor_list
from numpy.typing import NDArray

from posterion.structures.neighbors import NeighborPairs, complete_cell, neighbor_pairs
from posterion.structures.structure import Structure
from tests.support.structures import jittered_grid, slab, zoo
from tests.support.tolerances import PAIR_VECTOR

ZOO = zoo()
OPEN = (False, False, False)
CUTOFFS = (2.0, 4.5)
FAR = 1e6


def found(structure: Structure, cutoff: float) -> NeighborPairs:
    return neighbor_pairs(structure.positions, structure.cell, structure.pbc, cutoff=cutoff)


def table(
    centre: NDArray[np.int64], neighbor: NDArray[np.int64], vectors: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Pairs as sorted rows (centre, neighbour, vector)."""
    rows = np.column_stack([centre, neighbor, vectors])
    coarse = np.column_stack([centre, neighbor, np.round(vectors, 4)])
    return rows[np.lexsort(coarse.T[::-1])]


@pytest.mark.parametrize("cutoff", CUTOFFS)
@pytest.mark.parametrize("name", ZOO)
def test_pairs_are_those_of_ase(name: str, cutoff: float) -> None:
    structure = ZOO[name]
    cell = np.zeros((3, 3)) if structure.cell is None else structure.cell
    full = ase_complete_cell(cell)  # type: ignore[no-untyped-call]
    centre, neighbor, vectors = primitive_neighbor_list(  # type: ignore[no-untyped-call]
        "ijD", structure.pbc, full, structure.positions, cutoff
    )
    ours = found(structure, cutoff)
    np.testing.assert_allclose(
        table(ours.centre, ours.neighbor, ours.vectors(structure.positions)),
        table(centre, neighbor, vectors),
        rtol=0.0,
        atol=PAIR_VECTOR,
    )


@pytest.mark.parametrize("name", ZOO)
def test_every_pair_occurs_in_both_directions_and_centres_ascend(name: str) -> None:
    structure = ZOO[name]
    pairs = found(structure, 4.5)
    vectors = pairs.vectors(structure.positions)
    np.testing.assert_allclose(
        table(pairs.centre, pairs.neighbor, vectors),
        table(pairs.neighbor, pairs.centre, -vectors),
        rtol=0.0,
        atol=PAIR_VECTOR,
    )
    assert (np.diff(pairs.centre) >= 0).all()


@pytest.mark.parametrize("name", ZOO)
def test_shifts_are_lattice_translations_of_periodic_directions(name: str) -> None:
    structure = ZOO[name]
    shifts = found(structure, 4.5).shifts
    if structure.cell is None:
        assert not shifts.any()
        return
    images = shifts @ np.linalg.inv(complete_cell(structure.cell, structure.pbc))
    np.testing.assert_allclose(images, np.round(images), rtol=0.0, atol=PAIR_VECTOR)
    assert not np.round(images[:, ~np.array(structure.pbc)]).any()


def test_atom_sees_its_own_images_but_not_itself() -> None:
    pairs = found(ZOO["smaller-than-cutoff"], 4.5)
    # 381 cubic Angstrom hold 65 cells of 5.8 cubic Angstrom.
    assert 60 <= pairs.n_pairs <= 70
    assert (np.linalg.norm(pairs.shifts, axis=1) > 0).all()


def test_both_searches_of_open_structures_agree() -> None:
    positions = jittered_grid((4, 4, 4), seed=3)
    beyond = np.array([[500.0, 500.0, 500.0]])
    numpy_pairs = neighbor_pairs(positions, None, OPEN, cutoff=3.0)
    vesin_pairs = neighbor_pairs(np.concatenate([positions, beyond]), None, OPEN, cutoff=3.0)
    assert set(zip(*numpy_pairs[:2], strict=True)) == set(zip(*vesin_pairs[:2], strict=True))


STRETCHES = {
    "everywhere": np.full(3, FAR),
    "line": np.array([0.0, 0.0, FAR]),
    "plane": np.array([FAR, -FAR, 0.0]),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("direction", STRETCHES)
def test_two_clusters_a_million_angstrom_apart_are_two_clusters(direction: str) -> None:
    cluster = jittered_grid((5, 4, 4), seed=1)
    far = cluster + STRETCHES[direction]
    one = neighbor_pairs(cluster, None, OPEN, cutoff=3.0)
    two = neighbor_pairs(np.concatenate([cluster, far]), None, OPEN, cutoff=3.0)
    pairs = set(zip(*one[:2], strict=True))
    shifted = {(i + len(cluster), j + len(cluster)) for i, j in pairs}
    assert set(zip(*two[:2], strict=True)) == pairs | shifted


@pytest.mark.timeout(60)
def test_atoms_scattered_over_a_million_angstrom_have_no_neighbours() -> None:
    for stretch in ([FAR, FAR, FAR], [1.0, 1.0, FAR]):
        positions = jittered_grid((1, 1, 70), seed=1) * np.array(stretch)
        assert neighbor_pairs(positions, None, OPEN, cutoff=4.5).n_pairs == 0


@pytest.mark.timeout(60)
@pytest.mark.parametrize("axis", range(3))
def test_layers_far_apart_in_the_open_direction_are_separate_layers(axis: int) -> None:
    """Once a search that did not end, or ended the process."""
    pbc = (axis != 0, axis != 1, axis != 2)
    cell = np.roll(np.diag([3.1, 3.4, 0.0]), axis + 1, axis=(0, 1))
    layer = np.array([[0.1, 0.2, 0.3], [1.6, 1.7, 1.8]])
    far = layer + FAR * np.eye(3)[axis]
    one = neighbor_pairs(layer, cell, pbc, cutoff=4.5)
    two = neighbor_pairs(np.concatenate([layer, far]), cell, pbc, cutoff=4.5)
    assert one.n_pairs > 0
    assert two.n_pairs == 2 * one.n_pairs
    np.testing.assert_array_equal(two.centre < 2, two.neighbor < 2)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("pbc", [(True, True, True), (True, True, False)])
@pytest.mark.parametrize("length", [1e4, 1e6, 1e7])
def test_vacuum_of_any_length_changes_no_pair(length: float, pbc: tuple[bool, bool, bool]) -> None:
    """Once a division by zero that ended the process."""
    positions = slab().positions
    box = np.diag([3.1, 3.4, 40.0])
    near = neighbor_pairs(positions, box, pbc, cutoff=4.5)
    far = neighbor_pairs(positions, np.diag([3.1, 3.4, length]), pbc, cutoff=4.5)
    assert near.n_pairs > 0
    np.testing.assert_allclose(
        table(far.centre, far.neighbor, far.vectors(positions)),
        table(near.centre, near.neighbor, near.vectors(positions)),
        rtol=0.0,
        atol=PAIR_VECTOR,
    )


@pytest.mark.timeout(60)
def test_unwrapped_atoms_of_a_needle_keep_their_neighbours() -> None:
    needle = np.array([[3.1, 0.0, 0.0], [0.9, 3.4, 0.0], [0.0, 0.5, 1e5]])
    home = slab().positions
    away = home + np.array([[2, 0, 1], [0, -1, 0], [0, 0, -3], [5, 5, 0]]) @ needle
    pbc = (True, True, True)
    here, there = (neighbor_pairs(p, needle, pbc, cutoff=4.5) for p in (home, away))
    np.testing.assert_allclose(
        table(there.centre, there.neighbor, there.vectors(away)),
        table(here.centre, here.neighbor, here.vectors(home)),
        rtol=0.0,
        atol=PAIR_VECTOR,
    )
    assert here.n_pairs > 0
