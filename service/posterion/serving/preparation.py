"""How the structures of a request become graphs before they join the line.

Checking and neighbour search run in a small thread pool beside the device; for a few small
molecules, which take less than a thread takes to wake, at once. A structure that
the bank cannot describe ends here, so that nothing invalid ever enters a batch; so does a
request with more edges than one may bring, before the rest of its edges are looked for.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from posterion.errors import PosterionError, TooLarge
from posterion.graph.batch import Graph
from posterion.structures.prediction import Prediction
from posterion.structures.structure import Structure

STRUCTURES_PER_CHUNK = 16
"""A long request leaves the pool to others after so many structures."""


ATOMS_AT_ONCE = 160
"""Molecules with so many atoms together, none periodic, take some 0.3 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """The structures of a request, as graphs or errors.

    Attributes:
        outcomes: One graph or error per structure, in order.
        slowest_s: Time the slowest structure took.
    """

    outcomes: tuple[Graph | PosterionError, ...]
    slowest_s: float

    @property
    def graphs(self) -> list[Graph]:
        """The structures that can be evaluated, in order."""
        return [each for each in self.outcomes if isinstance(each, Graph)]

    def merge(
        self, results: Sequence[Prediction | PosterionError]
    ) -> tuple[Prediction | PosterionError, ...]:
        """Put results back among the errors.

        Args:
            results: One per graph, in order.

        Returns:
            One per structure, in order.
        """
        following = iter(results)
        return tuple(
            each if isinstance(each, PosterionError) else next(following) for each in self.outcomes
        )


async def prepare(
    check: Callable[[Structure], Graph],
    structures: Sequence[Structure],
    pool: Executor,
    *,
    max_edges: int,
) -> Preparation:
    """Turn structures into graphs, in the pool.

    Args:
        check: Makes one graph; raises PosterionError for a structure it refuses.
        structures: The structures of one request.
        pool: Threads, shared by all requests.
        max_edges: Most directed edges that the structures may have together.

    Returns:
        One graph or error per structure.

    Raises:
        TooLarge: If there are more edges.
    """
    done: list[tuple[Graph | PosterionError, float]] = []
    n_edges = 0

    def prepare_chunk(chunk: Sequence[Structure]) -> None:
        nonlocal n_edges
        for structure in chunk:
            outcome, seconds = _prepare_one(check, structure)
            n_edges += outcome.n_edges if isinstance(outcome, Graph) else 0
            if n_edges > max_edges:
                raise TooLarge(
                    f"expected at most {max_edges} edges in a request, got {n_edges} in its "
                    f"first {len(done) + 1} of {len(structures)} structures"
                )
            done.append((outcome, seconds))

    loop = asyncio.get_running_loop()
    at_once = _take_no_time(structures)
    for first in range(0, len(structures), STRUCTURES_PER_CHUNK):
        chunk = structures[first : first + STRUCTURES_PER_CHUNK]
        if at_once:
            prepare_chunk(chunk)
        else:
            await loop.run_in_executor(pool, prepare_chunk, chunk)
    return Preparation(
        outcomes=tuple(outcome for outcome, _ in done),
        slowest_s=max((seconds for _, seconds in done), default=0.0),
    )


def _take_no_time(structures: Sequence[Structure]) -> bool:
    if len(structures) > STRUCTURES_PER_CHUNK or any(True in each.pbc for each in structures):
        return False
    return sum(each.n_atoms for each in structures) <= ATOMS_AT_ONCE


def _prepare_one(
    check: Callable[[Structure], Graph], structure: Structure
) -> tuple[Graph | PosterionError, float]:
    started = time.perf_counter()
    try:
        outcome: Graph | PosterionError = check(structure)
    except PosterionError as error:
        outcome = error
    return outcome, time.perf_counter() - started
