"""Who is let in, who is turned away, and what becomes of those present at the end."""

import asyncio

import pytest

from posterion.errors import (
    Draining,
    Overloaded,
)
from posterion.serving.formation import Cost
from posterion.serving.work import Answers, Work
from tests.support.batcher_bench import PATIENCE_S, Bench, on_bench


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


def test_a_request_prepared_after_the_end_is_told_so() -> None:
    async def body(bench: Bench) -> None:
        admitted, prepared = asyncio.Event(), asyncio.Event()

        async def request() -> Answers[int]:
            with bench.batcher.admission(1):
                admitted.set()
                await prepared.wait()
                return await bench.batcher.submit("a", [Work(item=1, cost=Cost(edges=1, atoms=1))])

        late = asyncio.create_task(request())
        await admitted.wait()
        await bench.batcher.stop(drain_timeout_s=0.0)
        prepared.set()
        with pytest.raises(Draining) as caught:
            await asyncio.wait_for(late, PATIENCE_S)
        assert caught.value.retry_after_s is not None
        assert bench.batcher.n_waiting == 0

    on_bench(body)
