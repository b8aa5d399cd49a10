"""Laws of the batcher, on a device whose every step the test decides."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field

import pytest

from posterion.errors import (
    DeadlineExceeded,
    Draining,
    EvaluationFailed,
    NonFiniteResult,
    Overloaded,
    PosterionError,
    StructureTooLarge,
)
from posterion.serving.batcher import Batcher
from posterion.serving.bounds import SUCCESSES_BEFORE_GROWTH, AdaptiveBounds
from posterion.serving.formation import Cost
from posterion.serving.work import BatcherLimits, BatchRecord, Work

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
        deadline: float | None = None,
    ) -> "asyncio.Task[tuple[int | PosterionError, ...]]":
        async def submit() -> tuple[int | PosterionError, ...]:
            with self.batcher.admission(len(items)):
                works = [Work(item=each, cost=Cost(edges=edges, atoms=1)) for each in items]
                answers = await self.batcher.submit(group, works, deadline=deadline)
            return answers.results

        return asyncio.create_task(submit())

    async def until_started(self) -> tuple[int, ...]:
        """Wait until the device holds a batch; return its items."""
        return await asyncio.wait_for(self.device.started.get(), PATIENCE_S)

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
) -> None:
    """Run ``body`` with a fresh bench and stop its batcher afterwards."""

    async def run() -> None:
        device = SteppedDevice(memory=memory, poison=poison)
        clock = Clock()
        records: list[BatchRecord] = []
        limits = BatcherLimits(
            bounds=Cost(edges=edges, atoms=atoms),
            max_structures=max_structures,
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


def test_an_idle_device_starts_at_once_and_a_busy_one_collects() -> None:
    async def body(bench: Bench) -> None:
        first = bench.send(1)
        assert await bench.until_started() == (1,)
        others = [bench.send(2), bench.send(3), bench.send(4)]
        await bench.until_waiting(3)
        bench.device.let_through()
        assert await first == (2,)
        assert await bench.until_started() == (2, 3, 4)
        bench.device.let_through()
        assert [await each for each in others] == [(4,), (6,), (8,)]

    on_bench(body)


def test_what_arrives_until_the_device_is_free_joins_the_next_batch() -> None:
    async def body(bench: Bench) -> None:
        bench.send(1)
        await bench.until_started()
        early = bench.send(2)
        await bench.until_waiting(1)
        late = bench.send(3)
        await bench.until_waiting(2)
        bench.device.let_through(2)
        await asyncio.gather(early, late)
        assert bench.device.batches[1] == ("a", (2, 3))

    on_bench(body)


def test_results_keep_the_order_of_the_request() -> None:
    async def body(bench: Bench) -> None:
        bench.device.let_through(100)
        items = (5, 3, 9, 1, 7)
        assert await bench.send(*items, edges=40) == tuple(2 * each for each in items)
        assert len(bench.device.batches) == 3

    on_bench(body, edges=80)


@pytest.mark.parametrize(("edges", "atoms"), [(10, 1_000), (1_000, 10)])
def test_a_batch_respects_both_bounds(edges: int, atoms: int) -> None:
    async def body(bench: Bench) -> None:
        bench.device.let_through(100)
        await bench.send(*range(35))
        sizes = [len(items) for _, items in bench.device.batches]
        assert max(sizes) == 10
        assert sum(sizes) == 35

    on_bench(body, edges=edges, atoms=atoms)


def test_groups_never_mix() -> None:
    async def body(bench: Bench) -> None:
        bench.send(0)
        await bench.until_started()
        tasks = [bench.send(each, group="ab"[each % 2]) for each in range(1, 9)]
        await bench.until_waiting(8)
        bench.device.let_through(100)
        await asyncio.gather(*tasks)
        assert bench.device.batches[1:] == [("b", (1, 3, 5, 7)), ("a", (2, 4, 6, 8))]

    on_bench(body)


def test_one_bad_structure_of_64_leaves_63_results() -> None:
    async def body(bench: Bench) -> None:
        bench.send(1000)
        await bench.until_started()
        tasks = [bench.send(each) for each in range(64)]
        await bench.until_waiting(64)
        bench.device.let_through(1_000)
        answers = [(await each)[0] for each in tasks]
        failed = answers.pop(41)
        assert isinstance(failed, EvaluationFailed)
        assert answers == [2 * each for each in range(64) if each != 41]
        # One whole batch and two halves on each of log2(64) levels; nothing is repeated.
        assert len(bench.device.batches) == 1 + 1 + 2 * 6
        assert bench.records[-1].error_codes == ("evaluation-failed",)
        assert bench.records[-1].n_splits == 6

    on_bench(body, poison=frozenset({41}))


def test_every_bad_structure_is_found() -> None:
    bad = frozenset({0, 7, 8, 31})

    async def body(bench: Bench) -> None:
        bench.device.let_through(1_000)
        answers = await bench.send(*range(32))
        for item, answer in enumerate(answers):
            assert isinstance(answer, EvaluationFailed) == (item in bad)

    on_bench(body, poison=bad)


def test_an_error_value_of_one_structure_is_passed_on() -> None:
    async def run() -> None:
        def device(_group: str, items: Sequence[int]) -> Sequence[int | PosterionError]:
            return [NonFiniteResult("nan") if each == 1 else each for each in items]

        batcher: Batcher[str, int, int] = Batcher(
            device, BatcherLimits(bounds=Cost(edges=9, atoms=9))
        )
        batcher.start()
        works = [Work(item=each, cost=Cost(edges=1, atoms=1)) for each in range(3)]
        answers = await batcher.submit("a", works)
        assert answers.results[0] == 0
        assert isinstance(answers.results[1], NonFiniteResult)
        assert answers.results[2] == 2
        await batcher.stop(drain_timeout_s=PATIENCE_S)

    asyncio.run(run())


def test_a_device_that_answers_too_few_fails_no_neighbour() -> None:
    async def run() -> None:
        def device(_group: str, items: Sequence[int]) -> Sequence[int | PosterionError]:
            return list(items)[:1]

        batcher: Batcher[str, int, int] = Batcher(
            device, BatcherLimits(bounds=Cost(edges=9, atoms=9))
        )
        batcher.start()
        works = [Work(item=each, cost=Cost(edges=1, atoms=1)) for each in range(3)]
        assert (await batcher.submit("a", works)).results == (0, 1, 2)
        await batcher.stop(drain_timeout_s=PATIENCE_S)

    asyncio.run(run())


def test_out_of_memory_halves_the_bound_and_loses_nothing() -> None:
    async def body(bench: Bench) -> None:
        bench.device.let_through(1_000)
        assert await bench.send(*range(16)) == tuple(2 * each for each in range(16))
        assert bench.batcher.bounds.edges == 8
        n_before = len(bench.device.batches)
        await bench.send(*range(16))
        assert [len(items) for _, items in bench.device.batches[n_before:]] == [8, 8]

    on_bench(body, edges=16, memory=8)


def test_a_structure_that_never_fits_is_too_large() -> None:
    async def body(bench: Bench) -> None:
        bench.device.let_through(1_000)
        answers = await bench.send(1, 2)
        assert all(isinstance(each, StructureTooLarge) for each in answers)

    on_bench(body, memory=0)


def test_the_bound_grows_back_but_never_above_the_configured_one() -> None:
    bounds = AdaptiveBounds(Cost(edges=16, atoms=4))
    bounds.shrink(Cost(edges=16, atoms=4))
    assert bounds.current == Cost(edges=8, atoms=2)
    for _ in range(SUCCESSES_BEFORE_GROWTH):
        assert bounds.current == Cost(edges=8, atoms=2)
        bounds.succeed()
    assert bounds.current == Cost(edges=10, atoms=3)
    for _ in range(20 * SUCCESSES_BEFORE_GROWTH):
        bounds.succeed()
    assert bounds.current == Cost(edges=16, atoms=4)


def test_a_structure_above_the_bound_is_evaluated_alone() -> None:
    async def body(bench: Bench) -> None:
        bench.send(0)
        await bench.until_started()
        tasks = [bench.send(1), bench.send(99, edges=50), bench.send(2)]
        await bench.until_waiting(3)
        bench.device.let_through(100)
        await asyncio.gather(*tasks)
        assert bench.device.batches[1:] == [("a", (1, 2)), ("a", (99,))]

    on_bench(body, edges=10)


def test_a_large_structure_waits_one_batch_in_a_stream_of_small_ones() -> None:
    async def body(bench: Bench) -> None:
        bench.send(0, edges=10)
        await bench.until_started()
        bench.send(1)
        large = bench.send(99, edges=10)
        await bench.until_waiting(2)
        for item in range(100, 120):
            bench.send(item)
            await bench.until_waiting(3)
            bench.device.let_through()
            if 99 in await bench.until_started():
                break
            bench.send(item + 100)
        bench.device.let_through(100)
        assert await large == (198,)
        assert bench.device.batches[2] == ("a", (99,))

    on_bench(body, edges=10)


def test_a_small_request_shares_the_next_batch_with_a_huge_one() -> None:
    async def body(bench: Bench) -> None:
        bench.send(0)
        await bench.until_started()
        huge = bench.send(*range(1_000, 1_500))
        await bench.until_waiting(500)
        small = bench.send(7)
        await bench.until_waiting(501)
        bench.device.let_through(2)
        assert await small == (14,)
        assert not huge.done()
        assert len(bench.device.batches) == 2
        bench.device.let_through(1_000)
        assert len(await huge) == 500

    on_bench(body, edges=10)


def test_a_cancelled_request_is_never_evaluated() -> None:
    async def body(bench: Bench) -> None:
        bench.send(0)
        await bench.until_started()
        dropped, kept = bench.send(1, 2), bench.send(3)
        await bench.until_waiting(3)
        dropped.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dropped
        bench.device.let_through(2)
        assert await kept == (6,)
        assert bench.device.batches[1] == ("a", (3,))
        assert bench.batcher.n_waiting == 0
        assert bench.batcher.n_admitted == 0

    on_bench(body)


def test_a_request_cancelled_during_its_batch_harms_no_neighbour() -> None:
    async def body(bench: Bench) -> None:
        bench.send(0)
        await bench.until_started()
        dropped, kept = bench.send(1), bench.send(2)
        await bench.until_waiting(2)
        bench.device.let_through()
        assert await bench.until_started() == (1, 2)
        dropped.cancel()
        bench.device.let_through()
        assert await kept == (4,)

    on_bench(body)


def test_a_structure_past_its_deadline_is_dropped_before_evaluation() -> None:
    async def body(bench: Bench) -> None:
        bench.send(0)
        await bench.until_started()
        late, kept = bench.send(1, deadline=PATIENCE_S), bench.send(2)
        await bench.until_waiting(2)
        bench.clock.now = 2 * PATIENCE_S
        bench.device.let_through(2)
        answers = await late
        assert isinstance(answers[0], DeadlineExceeded)
        assert await kept == (4,)
        assert bench.device.batches[1] == ("a", (2,))

    on_bench(body)


def test_the_caller_hears_of_its_deadline_while_the_device_is_busy() -> None:
    async def body(bench: Bench) -> None:
        bench.send(0)
        await bench.until_started()
        with pytest.raises(DeadlineExceeded):
            await bench.send(1, deadline=bench.clock.now + 0.001)

    on_bench(body)


def test_a_full_house_refuses_and_says_when_to_come_back() -> None:
    async def body(bench: Bench) -> None:
        bench.send(1, 2, 3)
        await bench.until_started()
        with pytest.raises(Overloaded) as caught:
            await bench.send(4, 5)
        assert caught.value.retry_after_s is not None
        assert 1.0 <= caught.value.retry_after_s <= 30.0
        bench.device.let_through(1)

    on_bench(body, max_structures=4)


def test_an_empty_house_takes_a_request_above_the_limit() -> None:
    async def body(bench: Bench) -> None:
        bench.device.let_through(100)
        assert len(await bench.send(*range(8))) == 8

    on_bench(body, max_structures=4)


def test_a_stuck_device_is_unhealthy_only_while_it_has_work() -> None:
    async def body(bench: Bench) -> None:
        bench.clock.now = 1e6
        assert bench.batcher.healthy(), "idle for long is not stuck"
        task = bench.send(1)
        await bench.until_started()
        bench.clock.now += 59.0
        assert bench.batcher.healthy()
        bench.clock.now += 2.0
        assert not bench.batcher.healthy()
        bench.device.let_through()
        await task
        assert bench.batcher.healthy(), "progress heals"

    on_bench(body)


def test_a_defect_of_the_observer_does_not_end_the_service() -> None:
    async def run() -> None:
        def device(_group: str, items: Sequence[int]) -> Sequence[int | PosterionError]:
            return list(items)

        def observe(_record: BatchRecord) -> None:
            raise ZeroDivisionError

        batcher: Batcher[str, int, int] = Batcher(
            device, BatcherLimits(bounds=Cost(edges=9, atoms=9)), observe=observe
        )
        batcher.start()
        for item in range(3):
            work = Work(item=item, cost=Cost(edges=1, atoms=1))
            assert (await batcher.submit("a", [work])).results == (item,)
        assert batcher.healthy()
        await batcher.stop(drain_timeout_s=PATIENCE_S)

    asyncio.run(run())


def test_draining_refuses_new_requests_and_finishes_those_admitted() -> None:
    async def body(bench: Bench) -> None:
        admitted = bench.send(1)
        await bench.until_started()
        stopping = asyncio.create_task(bench.batcher.stop(drain_timeout_s=PATIENCE_S))
        await asyncio.sleep(0)
        with pytest.raises(Draining):
            await bench.send(2)
        assert not stopping.done()
        bench.device.let_through()
        assert await admitted == (2,)
        await stopping
        assert not bench.batcher.healthy()

    on_bench(body)


def test_whoever_is_left_when_draining_ends_is_told_so() -> None:
    async def body(bench: Bench) -> None:
        running = bench.send(1)
        await bench.until_started()
        queued = bench.send(2)
        await bench.until_waiting(1)
        await bench.batcher.stop(drain_timeout_s=0.0)
        assert isinstance((await running)[0], Draining)
        assert isinstance((await queued)[0], Draining)

    on_bench(body)


def test_the_record_tells_how_full_the_batch_was() -> None:
    async def body(bench: Bench) -> None:
        bench.device.let_through(100)
        await bench.send(1, 2, 3, edges=2)
        (record,) = bench.records
        assert record.n_structures == 3
        assert record.cost == Cost(edges=6, atoms=3)
        assert record.fill == 0.5
        assert len(record.queue_s) == 3

    on_bench(body, edges=12)
