"""The edges of a request are counted where they are found."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from posterion.errors import PosterionError, TooLarge, UnsupportedElement
from posterion.graph.batch import Graph, build_graph
from posterion.serving.preparation import STRUCTURES_PER_CHUNK, Preparation, prepare
from posterion.structures.structure import Structure
from tests.support.banks import ethanol

CUTOFF_ANGSTROM = 2.0
N_EDGES = build_graph(ethanol(), CUTOFF_ANGSTROM).n_edges


class Counting:
    """Builds graphs, keeps count, and refuses the structures it is told to."""

    def __init__(self, refused: frozenset[int] = frozenset()) -> None:
        self.n_checked = 0
        self._refused = refused

    def __call__(self, structure: Structure) -> Graph:
        self.n_checked += 1
        if self.n_checked - 1 in self._refused:
            raise UnsupportedElement("expected another element")
        return build_graph(structure, CUTOFF_ANGSTROM)


def prepared(check: Counting, n_structures: int, *, max_edges: int) -> Preparation:
    """Prepare so many molecules of ethanol."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        structures = [ethanol()] * n_structures
        return asyncio.run(prepare(check, structures, pool, max_edges=max_edges))


@pytest.mark.parametrize("n_structures", [1, STRUCTURES_PER_CHUNK, 2 * STRUCTURES_PER_CHUNK + 3])
def test_the_limit_itself_is_allowed_and_one_edge_less_is_not(n_structures: int) -> None:
    n_edges = n_structures * N_EDGES
    assert len(prepared(Counting(), n_structures, max_edges=n_edges).graphs) == n_structures
    with pytest.raises(TooLarge, match=f"at most {n_edges - 1} edges in a request"):
        prepared(Counting(), n_structures, max_edges=n_edges - 1)


def test_what_follows_the_edge_too_many_is_not_searched() -> None:
    check = Counting()
    with pytest.raises(TooLarge, match="in its first 3 of 100 structures"):
        prepared(check, 100, max_edges=2 * N_EDGES)
    assert check.n_checked == 3


def test_a_refused_structure_brings_no_edges_and_keeps_its_place() -> None:
    preparation = prepared(Counting(frozenset({1})), 3, max_edges=2 * N_EDGES)
    assert [isinstance(each, PosterionError) for each in preparation.outcomes] == [
        False,
        True,
        False,
    ]
