"""One structure that fails, or does not fit, costs its neighbours nothing."""

import asyncio
import weakref
from collections.abc import Sequence

import pytest

from posterion.errors import (
    EvaluationFailed,
    InternalError,
    NonFiniteResult,
    PosterionError,
    StructureTooLarge,
)
from posterion.serving.batcher import Batcher
from posterion.serving.bounds import (
    SUCCESSES_BEFORE_GROWTH,
    SUCCESSES_BEFORE_TRIAL,
    AdaptiveBounds,
)
from posterion.serving.formation import Cost, Room, Waiting
from posterion.serving.isolation import evaluate_isolated
from posterion.serving.line import FormationError, Line
from posterion.serving.work import BatcherLimits, BatchRecord, Work
from tests.support.batcher_bench import PATIENCE_S, Bench, on_bench


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
        await bench.until_reviewed()
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
        assert bench.batcher.room("a").memory.edges == 8
        n_before = len(bench.device.batches)
        await bench.send(*range(16))
        assert [len(items) for _, items in bench.device.batches[n_before:]] == [8, 8]

    on_bench(body, edges=16, memory=8)


def test_a_part_that_does_not_fit_either_tightens_the_bound_at_once() -> None:
    async def body(bench: Bench) -> None:
        bench.device.let_through(1_000)
        await bench.send(*range(16))
        assert bench.batcher.room("a").memory.edges == 2
        assert bench.batcher.room("other").memory.edges == 16, "learnt of one kind alone"
        n_before = len(bench.device.batches)
        await bench.send(*range(16))
        assert [len(items) for _, items in bench.device.batches[n_before:]] == [2] * 8
        await bench.until_reviewed()
        assert bench.records[-1].n_out_of_memory == 0

    on_bench(body, edges=16, memory=3)


def test_what_failed_is_let_go_before_its_halves_are_tried() -> None:
    class Held:
        """Stands for tensors of a failed pass."""

    held: list[weakref.ref[Held]] = []

    def device(_group: str, items: Sequence[int]) -> Sequence[int]:
        assert all(each() is None for each in held), "the failed pass still holds its memory"
        tensors = Held()
        held.append(weakref.ref(tensors))
        if len(items) > 1:
            raise MemoryError
        return list(items)

    assert evaluate_isolated(device, "a", [1, 2, 3, 4]).results == (1, 2, 3, 4)


def test_a_structure_that_never_fits_is_too_large() -> None:
    async def body(bench: Bench) -> None:
        bench.device.let_through(1_000)
        answers = await bench.send(1, 2)
        assert all(isinstance(each, StructureTooLarge) for each in answers)

    on_bench(body, memory=0)


def test_the_bound_grows_back_and_long_stays_below_what_has_failed() -> None:
    bounds = AdaptiveBounds(Cost(edges=16, atoms=4))
    bounds.shrink(Cost(edges=16, atoms=4))
    assert bounds.current == Cost(edges=8, atoms=2)
    for _ in range(SUCCESSES_BEFORE_GROWTH):
        assert bounds.current == Cost(edges=8, atoms=2)
        bounds.succeed()
    assert bounds.current == Cost(edges=10, atoms=3)
    for _ in range(2 * SUCCESSES_BEFORE_GROWTH + SUCCESSES_BEFORE_TRIAL - 1):
        bounds.succeed()
    assert bounds.current == Cost(edges=14, atoms=3)
    bounds.succeed()
    assert bounds.current == Cost(edges=16, atoms=4)


def test_a_failure_lowers_the_bound_that_the_batch_used_most_of() -> None:
    bounds = AdaptiveBounds(Cost(edges=6_400, atoms=640))
    bounds.shrink(Cost(edges=6_000, atoms=100))
    assert bounds.current == Cost(edges=3_000, atoms=640)


def test_one_failure_of_an_isolated_atom_leaves_room_for_batches() -> None:
    bounds = AdaptiveBounds(Cost(edges=6_400, atoms=640))
    bounds.shrink(Cost(edges=0, atoms=1))
    assert bounds.current == Cost(edges=6_400, atoms=10)
    for _ in range(60 * SUCCESSES_BEFORE_TRIAL):
        bounds.succeed()
    assert bounds.current == Cost(edges=6_400, atoms=640)


def test_a_structure_that_fails_alone_above_the_bound_leaves_it_alone() -> None:
    bounds = AdaptiveBounds(Cost(edges=16, atoms=4))
    bounds.shrink(Cost(edges=1_000, atoms=50))
    assert bounds.current == Cost(edges=16, atoms=4)


def test_a_defect_in_forming_a_batch_fails_the_request_at_the_front_alone() -> None:
    async def run() -> None:
        def device(_group: str, items: Sequence[int]) -> Sequence[int | PosterionError]:
            return list(items)

        def kind_of(group: str) -> str:
            return {"a": "kind"}[group]

        batcher: Batcher[str, int, int] = Batcher(
            device, BatcherLimits(bounds=Cost(edges=9, atoms=9)), kind_of=kind_of
        )
        batcher.start()
        works = [Work(item=each, cost=Cost(edges=1, atoms=1)) for each in range(3)]
        async with asyncio.timeout(PATIENCE_S):
            answers = await asyncio.gather(
                *(batcher.submit(group, works) for group in ("defect", "a", "defect", "a"))
            )
        for failed in answers[::2]:
            assert [type(each) for each in failed.results] == [InternalError] * 3
        for served in answers[1::2]:
            assert served.results == (0, 1, 2)
        assert batcher.healthy()
        assert batcher.n_waiting == 0
        await batcher.stop(drain_timeout_s=PATIENCE_S)

    asyncio.run(run())


def test_a_defect_while_a_batch_grows_fails_what_it_took() -> None:
    def seconds(cost: Cost) -> float:
        return 1 / (3 - cost.edges)

    bounds = Cost(edges=9, atoms=9)
    room = Room(memory=bounds, seconds=seconds, max_seconds=9.0, max_bulk_seconds=9.0)
    loop = asyncio.new_event_loop()
    line: Line[str, int, int] = Line()
    line.join(
        "a",
        [
            Waiting(
                item=item,
                cost=Cost(edges=1, atoms=1),
                answer=loop.create_future(),
                deadline=None,
                arrived=0.0,
            )
            for item in range(4)
        ],
    )
    loop.close()
    with pytest.raises(FormationError) as caught:
        line.form(lambda _group: room, now=0.0)
    assert [each.item for each in caught.value.waiting] == [0, 1]
    assert len(line) == 2


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
