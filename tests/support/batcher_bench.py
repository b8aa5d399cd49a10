"""A batcher on a device whose every step the test decides."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field

from posterion.errors import PosterionError
from posterion.serving.batcher import REVIEW_AFTER_S, Batcher
from posterion.serving.formation import Cost
from posterion.serving.work import BatcherLimits, BatchRecord, Work
from posterion.structures.evaluation import Priority

PATIENCE_S = 30.0


@dataclass
class SteppedDevice:
    """Doubles integers; each batch starts when it is let through.

    Attributes:
        memory: Most items it can hold together.
        poison: Items that make it raise.
        batches: Groups and items of the batches it evaluated, in order.
    """

    memory: int = 1_000_000
    poison: frozenset[int] = frozenset()
    batches: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    started: "asyncio.Queue[tuple[int, ...]]" = field(default_factory=asyncio.Queue)
    gate: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def __call__(self, group: str, items: Sequence[int]) -> Sequence[int | PosterionError]:
        self.loop.call_soon_threadsafe(self.started.put_nowait, tuple(items))
        if not self.gate.acquire(timeout=PATIENCE_S):
            raise TimeoutError("the test never let this batch through")
        self.batches.append((group, tuple(items)))
        if len(items) > self.memory:
            raise MemoryError
        bad = self.poison.intersection(items)
        if bad:
            raise ArithmeticError(f"cannot evaluate {bad}")
        return [2 * each for each in items]

    def let_through(self, n_batches: int = 1) -> None:
        self.gate.release(n_batches)


@dataclass
class Clock:
    """Seconds that pass only when told to."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Bench:
    """A batcher, its device and its clock."""

    batcher: Batcher[str, int, int]
    device: SteppedDevice
    clock: Clock
    records: list[BatchRecord]

    def send(
        self,
        *items: int,
        group: str = "a",
        edges: int = 1,
        atoms: int = 1,
        deadline: float | None = None,
        priority: Priority = "interactive",
    ) -> "asyncio.Task[tuple[int | PosterionError, ...]]":
        async def submit() -> tuple[int | PosterionError, ...]:
            with self.batcher.admission(len(items)):
                works = [Work(item=each, cost=Cost(edges=edges, atoms=atoms)) for each in items]
                answers = await self.batcher.submit(
                    group, works, deadline=deadline, priority=priority
                )
            return answers.results

        return asyncio.create_task(submit())

    async def until_started(self) -> tuple[int, ...]:
        """Wait until the device holds a batch; return its items."""
        return await asyncio.wait_for(self.device.started.get(), PATIENCE_S)

    async def until_reviewed(self) -> None:
        """Let the last batch be learnt from and recorded."""
        await asyncio.sleep(3.0 * REVIEW_AFTER_S)

    async def until_waiting(self, n_structures: int) -> None:
        """Let the loop run until so many structures stand in line."""
        async with asyncio.timeout(PATIENCE_S):
            while self.batcher.n_waiting != n_structures:  # noqa: ASYNC110 - joining is not an event
                await asyncio.sleep(0)


def on_bench(
    body: Callable[[Bench], Coroutine[None, None, None]],
    *,
    edges: int = 1_000,
    atoms: int = 1_000,
    max_structures: int = 10_000,
    memory: int = 1_000_000,
    poison: frozenset[int] = frozenset(),
    max_batch_seconds: float = 1e6,
) -> None:
    """Run ``body`` with a fresh bench and stop its batcher afterwards."""

    async def run() -> None:
        device = SteppedDevice(memory=memory, poison=poison)
        clock = Clock()
        records: list[BatchRecord] = []
        limits = BatcherLimits(
            bounds=Cost(edges=edges, atoms=atoms),
            max_structures=max_structures,
            max_batch_seconds=max_batch_seconds,
            stall_timeout_s=60.0,
        )
        batcher: Batcher[str, int, int] = Batcher(
            device, limits, observe=records.append, clock=clock
        )
        batcher.start()
        try:
            await body(Bench(batcher, device, clock, records))
        finally:
            device.let_through(1_000)
            await batcher.stop(drain_timeout_s=PATIENCE_S)

    asyncio.run(run())
