"""What is predicted of a batch bounds it, keeps deadlines and says when to come back."""

import asyncio

import pytest

from posterion.errors import DeadlineExceeded, Overloaded
from posterion.serving.experience import Experience
from posterion.serving.formation import Batch, Cost
from posterion.serving.isolation import Outcome
from posterion.serving.outlook import REFUSALS_PER_TRIAL
from posterion.serving.work import BatcherLimits
from tests.support.batcher_bench import Bench, on_bench

PER_ITEM_S = 0.5


async def teach(bench: Bench) -> None:
    """Show the batcher a device that takes half a second per item, and nothing besides."""
    for n_items in (1, 2, 3, 4) * 4:
        task = bench.send(*range(n_items), edges=10)
        await bench.until_started()
        bench.clock.now += PER_ITEM_S * n_items
        bench.device.let_through()
        await task


def test_a_batch_grows_up_to_the_predicted_time() -> None:
    async def body(bench: Bench) -> None:
        await teach(bench)
        task = bench.send(*range(9), edges=10)
        sizes: list[int] = []
        while sum(sizes) < 9:
            sizes.append(len(await bench.until_started()))
            bench.clock.now += PER_ITEM_S * sizes[-1]
            bench.device.let_through()
        await task
        assert sizes == [4, 4, 1]
        assert bench.records[-2].predicted_s == pytest.approx(4 * PER_ITEM_S, rel=0.05)
        assert bench.records[-2].fill == pytest.approx(4 * PER_ITEM_S / 2.2, rel=0.05)

    on_bench(body, max_batch_seconds=2.2)


def test_a_batch_is_not_cut_below_four_times_what_an_empty_one_takes() -> None:
    experience = Experience(BatcherLimits(bounds=Cost(edges=10**6, atoms=10**6)))
    for n_items in (1, 2, 4, 8) * 40:
        cost = Cost(edges=10 * n_items, atoms=n_items)
        batch: Batch[str, int, int] = Batch(group="a", room=experience.room("a"), now=0.0)
        batch.cost = cost
        experience.learn("a", batch, Outcome(results=(1,)), 1.0 + 0.01 * n_items)
    room = experience.room("a")
    assert room.max_seconds == pytest.approx(4.0, rel=0.05)
    # 250 structures of 10 ms fit three times a fixed cost of 1 s, in one batch each of 300.
    assert experience.clearing_s("a", Cost(edges=9_000, atoms=900)) == pytest.approx(12, rel=0.1)


def test_a_deadline_out_of_reach_is_refused_at_once() -> None:
    async def body(bench: Bench) -> None:
        await teach(bench)
        running = bench.send(1, 2, 3, 4, edges=10)
        await bench.until_started()
        with pytest.raises(DeadlineExceeded, match=r"expected in 2\.5 s") as caught:
            await bench.send(5, edges=10, deadline=bench.clock.now + 2.3)
        assert caught.value.retry_after_s == pytest.approx(2.0, rel=0.05)
        in_reach = bench.send(6, edges=10, deadline=bench.clock.now + 2.7)
        await bench.until_waiting(1)
        bench.device.let_through(2)
        bench.clock.now += 2.0
        assert await in_reach == (12,)
        await running
        assert (5,) not in [items for _, items in bench.device.batches]

    on_bench(body)


def test_an_estimate_that_only_refuses_is_tried_now_and_then() -> None:
    async def body(bench: Bench) -> None:
        await teach(bench)
        bench.send(0, edges=10)
        await bench.until_started()
        deadline = bench.clock.now + 0.9
        tasks = [bench.send(7, edges=10, deadline=deadline) for _ in range(REFUSALS_PER_TRIAL)]
        await bench.until_waiting(1)
        bench.device.let_through(2)
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, DeadlineExceeded) for each in answers[:-1])
        assert answers[-1] == (14,)
        assert bench.device.batches[-1] == ("a", (7,))

    on_bench(body)


def test_an_idle_device_refuses_nobody() -> None:
    async def body(bench: Bench) -> None:
        await teach(bench)
        bench.device.let_through(3)
        for _ in range(3):
            assert await bench.send(7, edges=10, deadline=bench.clock.now + 0.4) == (14,)

    on_bench(body)


def test_a_batch_does_not_grow_past_the_deadline_of_a_member() -> None:
    async def body(bench: Bench) -> None:
        await teach(bench)
        bench.send(0, edges=10)
        await bench.until_started()
        urgent = bench.send(1, edges=10, deadline=bench.clock.now + 2.2)
        others = bench.send(2, 3, 4, 5, 6, edges=10)
        await bench.until_waiting(6)
        bench.clock.now += PER_ITEM_S
        bench.device.let_through()
        # 1.7 s are left: enough for three structures.
        assert await bench.until_started() == (1, 2, 3)
        bench.device.let_through(2)
        await asyncio.gather(urgent, others)

    on_bench(body, max_batch_seconds=10.0)


def test_a_structure_that_can_no_longer_meet_its_deadline_is_not_evaluated() -> None:
    async def body(bench: Bench) -> None:
        await teach(bench)
        bench.send(0, edges=10)
        await bench.until_started()
        late, kept = bench.send(1, edges=10, deadline=bench.clock.now + 30), bench.send(2)
        await bench.until_waiting(2)
        bench.clock.now += 29.8
        bench.device.let_through(2)
        assert isinstance((await late)[0], DeadlineExceeded)
        await kept
        assert bench.device.batches[-1] == ("a", (2,))

    on_bench(body)


def test_whoever_is_turned_away_hears_when_those_present_are_done() -> None:
    async def body(bench: Bench) -> None:
        await teach(bench)
        tasks = [bench.send(0, edges=10)]
        await bench.until_started()
        tasks.append(bench.send(*range(1, 20), edges=10))
        await bench.until_waiting(19)
        with pytest.raises(Overloaded) as caught:
            await bench.send(99, edges=10)
        assert caught.value.retry_after_s == pytest.approx(20 * PER_ITEM_S, rel=0.1)
        bench.device.let_through(100)
        await asyncio.gather(*tasks)

    on_bench(body, max_structures=20)


def test_a_batch_that_was_expected_to_take_long_is_not_stuck() -> None:
    async def body(bench: Bench) -> None:
        await teach(bench)
        task = bench.send(*range(200), edges=10)
        await bench.until_started()
        bench.clock.now += 400.0
        assert bench.batcher.healthy(), "100 s were predicted, 500 s are allowed"
        bench.clock.now += 110.0
        assert not bench.batcher.healthy()
        bench.device.let_through()
        await task

    on_bench(body, edges=5_000, max_batch_seconds=1_000.0)
