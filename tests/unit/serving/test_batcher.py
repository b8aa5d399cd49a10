"""Laws of the batcher: what meets in a batch, in which turn, and who is told when."""

import asyncio

import pytest

from posterion.errors import (
    DeadlineExceeded,
)
from posterion.serving.formation import Cost
from tests.support.batcher_bench import PATIENCE_S, Bench, on_bench


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
        assert bench.batcher.n_waiting == 1
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
            await bench.send(1, deadline=bench.clock.now + 0.05)
        assert bench.batcher.n_waiting == 0, "nobody waits for it any more"

    on_bench(body)


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


@pytest.mark.parametrize(
    ("n_structures", "edge_samples_each", "allowed_s"),
    [(1, 1, 60.0), (1, 500_000, 60.0), (1, 2_750_000, 330.0), (4, 250_000, 120.0)],
)
def test_a_costly_batch_may_take_its_time_and_is_still_found_stuck(
    n_structures: int, edge_samples_each: int, allowed_s: float
) -> None:
    async def body(bench: Bench) -> None:
        task = bench.send(*range(n_structures), edges=edge_samples_each)
        await bench.until_started()
        began = bench.clock.now
        bench.clock.now = began + allowed_s - 1.0
        assert bench.batcher.healthy(), "a long batch is not a stuck one"
        bench.clock.now = began + allowed_s + 1.0
        assert not bench.batcher.healthy()
        bench.device.let_through()
        await task

    on_bench(body, edges=1_000_000)


def test_the_time_of_a_costly_batch_is_not_lent_to_the_next() -> None:
    async def body(bench: Bench) -> None:
        costly = bench.send(1, edges=5_000_000, atoms=250_000)
        await bench.until_started()
        bench.clock.now += 500.0
        cheap = bench.send(2)
        await bench.until_waiting(1)
        assert bench.batcher.healthy()
        bench.device.let_through()
        await costly
        await bench.until_started()
        bench.clock.now += 61.0
        assert not bench.batcher.healthy()
        bench.device.let_through()
        await cheap

    on_bench(body)


def test_the_record_tells_how_full_the_batch_was() -> None:
    async def body(bench: Bench) -> None:
        bench.device.let_through(100)
        await bench.send(1, 2, 3, edges=2)
        await bench.until_reviewed()
        (record,) = bench.records
        assert record.n_structures == 3
        assert record.cost == Cost(edges=6, atoms=3)
        assert record.fill == 0.5
        assert len(record.queue_s) == 3

    on_bench(body, edges=12)
