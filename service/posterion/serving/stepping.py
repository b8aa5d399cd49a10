"""How the images of a session become graphs, and join the line like any request."""

import asyncio
import time
from concurrent.futures import Executor
from typing import Final

from posterion.api.backend import ModelIdentity, Timing
from posterion.api.session_errors import within
from posterion.api.stepper import StepReply, StepsRequest
from posterion.errors import StructureError, TooLarge
from posterion.graph.batch import Graph
from posterion.inference.predictor import Predictor
from posterion.serving.batcher import Batcher
from posterion.serving.groups import Group, identity_of, works_of
from posterion.structures.prediction import FloatArray, Prediction

INLINE_PAIRS: Final = 20_000
"""Up to so many listed pairs (some 200 atoms), filtering (0.1 ms) and even listing (1.5 ms, every
tens of steps) take less time than handing them to a thread on a busy interpreter would."""


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
            max_edges: Most directed edges of all images together.

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

    @property
    def model(self) -> ModelIdentity:
        """The version that answers."""
        return self._model

    async def check(self) -> None:
        """Prepare the structure as it was given.

        Raises:
            StructureError: If the bank does not describe it.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(
            self._pool, self._predictor.prepare_again, self._images[0], self._lists[0]
        )

    async def step(
        self, positions: FloatArray, cells: FloatArray | None, *, deadline_s: float | None
    ) -> StepReply:
        """Evaluate all images; see ``Stepper``."""
        deadline = None if deadline_s is None else time.monotonic() + deadline_s
        with self._batcher.admission(len(self._images)):
            started = time.perf_counter()
            n_builds = sum(each.n_builds for each in self._lists)
            if self._lists[0].n_pairs * len(self._lists) <= INLINE_PAIRS:
                graphs = self._prepare(positions, cells)
            else:
                loop = asyncio.get_running_loop()
                graphs = await loop.run_in_executor(self._pool, self._prepare, positions, cells)
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
            n_rebuilds=sum(each.n_builds for each in self._lists) - n_builds,
        )

    def _prepare(self, positions: FloatArray, cells: FloatArray | None) -> list[Graph]:
        """Move every image and find its edges; an error says which image it is of."""
        graphs: list[Graph] = []
        for index, (image, neighbors) in enumerate(zip(self._images, self._lists, strict=True)):
            try:
                moved = image.moved(positions[index], None if cells is None else cells[index])
                graphs.append(self._predictor.prepare_again(moved, neighbors))
            except StructureError as error:
                raise within(f"/images/{index}", error) from None
        n_edges = sum(graph.n_edges for graph in graphs)
        if n_edges > self._max_edges:
            raise TooLarge(
                f"expected at most {self._max_edges} edges in a step, got {n_edges} in "
                f"{len(graphs)} images"
            )
        return graphs
