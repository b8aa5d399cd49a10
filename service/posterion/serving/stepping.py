"""How the images of a session become graphs, and join the line like any request."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Final

from posterion.api.backend import ModelIdentity, Timing
from posterion.api.session_errors import within
from posterion.api.stepper import StepReply, StepsRequest
from posterion.errors import DeadlineExceeded, StructureError, StructureTooLarge, TooLarge
from posterion.graph.batch import Graph
from posterion.inference.predictor import Predictor
from posterion.serving.batcher import Batcher
from posterion.serving.groups import Group, identity_of, works_of
from posterion.structures.prediction import FloatArray, Prediction
from posterion.structures.structure import Structure

INLINE_PAIRS: Final = 20_000
"""Up to so many listed pairs (some 200 atoms), filtering (0.1 ms) and even listing (1.5 ms, every
tens of steps) take less time than handing them to a thread on a busy interpreter would."""

PAIRS_PER_ATOM: Final = 10
"""An atom costs as much as so many pairs, whether it has neighbours or not."""

_Prepared = tuple[list[Graph], int]
"""The graphs, and how many lists were made for them."""


class BankStepper:
    """The images of one session and their neighbour lists, in front of one bank."""

    def __init__(
        self,
        predictor: Predictor,
        batcher: Batcher[Group, Graph, Prediction],
        pool: Executor,
        request: StepsRequest,
        max_edges: int,
    ) -> None:
        """Start without lists.

        Args:
            predictor: The bank; the session keeps it in memory.
            batcher: The line in front of the device.
            pool: Threads for long lists.
            request: What the steps have in common.
            max_edges: Most listed pairs of all images together, those in the skin included.

        Raises:
            InvalidRequest: If the options do not suit the bank.
        """
        self._predictor = predictor
        self._batcher = batcher
        self._pool = pool
        self._max_edges = max_edges
        self._group = Group(predictor=predictor, options=request.options)
        self._images = [request.structure] * request.n_images
        self._lists = [predictor.skin_list(request.skin) for _ in self._images]
        self._model = identity_of(predictor, request.options)
        self._preparing: asyncio.Future[_Prepared] | None = None

    @property
    def model(self) -> ModelIdentity:
        """The version that answers."""
        return self._model

    @property
    def n_pairs(self) -> int:
        """Pairs in the lists of all images, those in the skin included."""
        return sum(each.n_pairs for each in self._lists)

    async def check(self) -> None:
        """Prepare the structure as it was given.

        Raises:
            StructureError: If the bank does not describe it.
            TooLarge: If cutoff and skin hold too many pairs.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._pool, self._prepare_one, 0, self._images[0])

    async def step(
        self, positions: FloatArray, cells: FloatArray | None, *, deadline_s: float | None
    ) -> StepReply:
        """Evaluate all images; see ``Stepper``."""
        deadline = None if deadline_s is None else time.monotonic() + deadline_s
        with self._batcher.admission(len(self._images)):
            started = time.perf_counter()
            prepare = partial(self._prepare, positions, cells, deadline)
            graphs, n_rebuilds = (
                prepare() if self._quick() else await self._offloaded(prepare, deadline)
            )
            graph_s = time.perf_counter() - started
            works = works_of(self._predictor, self._group.options, graphs)
            answers = await self._batcher.submit(self._group, works, deadline=deadline)
        self._images = [graph.structure for graph in graphs]
        return StepReply(
            results=answers.results,
            timing=Timing(
                queue_ms=1e3 * answers.queue_s,
                graph_ms=1e3 * graph_s,
                evaluate_ms=1e3 * answers.evaluate_s,
            ),
            n_rebuilds=n_rebuilds,
        )

    def _quick(self) -> bool:
        """Whether preparing takes less time than a thread would; no thread may be at it."""
        longest = max(each.n_pairs for each in self._lists)
        n_atoms = self._images[0].n_atoms
        work = len(self._images) * (longest + PAIRS_PER_ATOM * n_atoms)
        return work <= INLINE_PAIRS and (self._preparing is None or self._preparing.done())

    async def _offloaded(
        self, prepare: Callable[[], _Prepared], deadline: float | None
    ) -> _Prepared:
        """Prepare in a thread, which a deadline leaves behind: the next step waits for it."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None if deadline is None else deadline - time.monotonic()):
                if self._preparing is not None:
                    await asyncio.wait([self._preparing])
                self._preparing = loop.run_in_executor(self._pool, prepare)
                return await asyncio.shield(self._preparing)
        except TimeoutError:
            raise _too_late() from None

    def _prepare(
        self, positions: FloatArray, cells: FloatArray | None, deadline: float | None
    ) -> _Prepared:
        """Move every image and find its edges; an error says which image it is of."""
        n_builds = sum(each.n_builds for each in self._lists)
        graphs: list[Graph] = []
        for index, image in enumerate(self._images):
            if deadline is not None and time.monotonic() > deadline:
                raise _too_late()
            try:
                moved = image.moved(positions[index], None if cells is None else cells[index])
                graphs.append(self._prepare_one(index, moved))
            except StructureError as error:
                raise within(f"/images/{index}", error) from None
        return graphs, sum(each.n_builds for each in self._lists) - n_builds

    def _prepare_one(self, index: int, image: Structure) -> Graph:
        """Find the edges of one image; nothing is kept of images that are too large together."""
        neighbors = self._lists[index]
        others = self.n_pairs - neighbors.n_pairs
        try:
            return self._predictor.prepare_again(
                image, neighbors, max_pairs=self._max_edges - others
            )
        except (StructureTooLarge, TooLarge):
            for each in self._lists:
                each.drop()
            raise


def _too_late() -> DeadlineExceeded:
    return DeadlineExceeded("the deadline passed before the neighbours were found")
