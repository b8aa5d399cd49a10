"""A batch holds what its graphs hold, whatever the mix and wherever the structures lie."""

import numpy as np
import pytest
import torch

from posterion.graph.batch import Graph, bounded_runs, build_graph, collate
from tests.support.structures import displaced, oxygen, water, zoo
from tests.support.tolerances import ROUNDING, SINGLE_PRECISION

CUTOFF = 3.0
FAR = np.array([2e5, -3e5, 1e5])


@pytest.fixture(scope="module")
def graphs() -> list[Graph]:
    return [build_graph(structure, CUTOFF) for structure in zoo().values()]


def edge_vectors(graph: Graph) -> np.ndarray:
    positions = graph.structure.positions
    centre, neighbor = graph.edge_index
    vectors: np.ndarray = positions[neighbor] + graph.shifts - positions[centre]
    return vectors


def test_distances_are_the_lengths_of_the_edges(graphs: list[Graph]) -> None:
    for graph in graphs:
        lengths = np.linalg.norm(edge_vectors(graph), axis=1)
        np.testing.assert_allclose(graph.distances, lengths, rtol=0.0, atol=ROUNDING)
        assert (graph.distances < CUTOFF).all()
        assert graph.n_edges == len(lengths)
        assert graph.min_distance == (lengths.min() if len(lengths) else np.inf)


def test_every_edge_of_a_mixed_batch_is_the_edge_of_its_graph(graphs: list[Graph]) -> None:
    batch = collate(graphs, dtype=torch.float64, device="cpu")
    expected = np.concatenate([edge_vectors(graph) for graph in graphs])
    np.testing.assert_allclose(batch.vectors.numpy(), expected, rtol=0.0, atol=ROUNDING)


def test_no_edge_joins_two_structures(graphs: list[Graph]) -> None:
    batch = collate(graphs, dtype=torch.float64, device="cpu")
    centre, neighbor = batch.structure_index[batch.edge_index]
    assert torch.equal(centre, neighbor)
    n_edges = torch.bincount(centre, minlength=len(graphs))
    assert n_edges.tolist() == [graph.n_edges for graph in graphs]


def test_atoms_follow_each_other_in_the_order_of_the_graphs(graphs: list[Graph]) -> None:
    batch = collate(graphs, dtype=torch.float64, device="cpu")
    sizes = [graph.n_atoms for graph in graphs]
    assert batch.n_structures == len(graphs)
    assert batch.n_atoms.tolist() == sizes
    assert batch.structure_index.tolist() == np.repeat(np.arange(len(graphs)), sizes).tolist()
    numbers = np.concatenate([graph.structure.atomic_numbers for graph in graphs])
    assert batch.atomic_numbers.tolist() == numbers.tolist()


def test_cells_are_kept_and_molecules_have_none(graphs: list[Graph]) -> None:
    batch = collate(graphs, dtype=torch.float64, device="cpu")
    for cell, graph in zip(batch.cell.numpy(), graphs, strict=True):
        kept = graph.structure.cell
        np.testing.assert_array_equal(cell, np.zeros((3, 3)) if kept is None else kept)


def test_far_from_the_origin_single_precision_keeps_its_digits() -> None:
    """2e5 Angstrom has a float32 spacing of 0.016 Angstrom: a bond would lose two digits."""
    here, there = (
        collate([build_graph(s, CUTOFF)], dtype=torch.float32, device="cpu")
        for s in (water(), displaced(water(), FAR))
    )
    assert torch.equal(here.edge_index, there.edge_index)
    torch.testing.assert_close(there.vectors, here.vectors, rtol=0.0, atol=SINGLE_PRECISION)


def test_batch_without_edges_has_empty_edges() -> None:
    graphs = [build_graph(oxygen(), CUTOFF), build_graph(oxygen((9.0, 0.0, 0.0)), CUTOFF)]
    batch = collate(graphs, dtype=torch.float32, device="cpu")
    assert batch.edge_index.shape == (2, 0)
    assert batch.vectors.shape == (0, 3)
    assert batch.n_atoms.tolist() == [1, 1]


def test_batch_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one graph, got none"):
        collate([], dtype=torch.float32, device="cpu")


def test_runs_keep_order_and_bounds(graphs: list[Graph]) -> None:
    sizes = [graph.n_edges for graph in graphs]
    for n_edges, n_graphs in ((0, None), (100, None), (10**6, 3), (10**6, None)):
        runs = list(bounded_runs(graphs, n_edges=n_edges, n_graphs=n_graphs))
        assert [i for run in runs for i in range(run.start, run.stop)] == list(range(len(graphs)))
        for run in runs:
            length = run.stop - run.start
            assert length == 1 or sum(sizes[run]) <= n_edges
            assert 1 <= length <= (n_graphs or len(graphs))
    # As few runs as the bounds allow.
    assert len(list(bounded_runs(graphs, n_edges=10**6))) == 1
    assert len(list(bounded_runs(graphs, n_edges=10**6, n_graphs=3))) == -(-len(graphs) // 3)
    assert list(bounded_runs([], n_edges=1)) == []
