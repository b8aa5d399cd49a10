"""Laws of the roll-out, over a real store in memory and a loader the test decides."""

import asyncio

import pytest

from posterion.errors import NotReady, UnknownModel
from posterion.serving.rollout import LONGEST_RETRY_S, Rollout, RolloutPolicy
from posterion_store import Store
from tests.support.rollout_bench import PATIENCE_S, Bench, FlakyStore, Loader, on_bench


def test_a_promoted_version_takes_over_at_the_next_poll() -> None:
    async def body(bench: Bench) -> None:
        first = bench.publish(1)
        await bench.rollout.poll()
        assert bench.answering() == first
        second = bench.publish(2)
        assert bench.answering() == first
        await bench.rollout.poll()
        assert bench.answering() == second
        assert bench.rollout.digest("ethanol", None) == second

    on_bench(body)


def test_rollback_needs_no_second_load() -> None:
    async def body(bench: Bench) -> None:
        first = bench.publish(1)
        await bench.rollout.poll()
        bench.publish(2)
        await bench.rollout.poll()
        bench.store.store.rollback("ethanol", by="tests")
        await bench.rollout.poll()
        assert bench.answering() == first
        assert bench.loader.loads.count(first) == 1

    on_bench(body)


def test_the_served_version_answers_until_the_new_one_is_loaded() -> None:
    async def body(bench: Bench) -> None:
        first = bench.publish(1)
        await bench.rollout.poll()
        second = bench.publish(2)
        bench.loader.gate.clear()
        polling = asyncio.create_task(bench.rollout.poll())
        async with asyncio.timeout(PATIENCE_S):
            while second not in bench.loader.loads:  # noqa: ASYNC110 - set in a thread
                await asyncio.sleep(0)
        assert bench.answering() == first
        assert await bench.rollout.get("ethanol", first) == f"loaded {first}"
        bench.loader.gate.set()
        await polling
        assert bench.answering() == second

    on_bench(body)


def test_a_refused_version_leaves_the_served_one_and_is_named() -> None:
    async def body(bench: Bench) -> None:
        first = bench.publish(1)
        await bench.rollout.poll()
        second = bench.publish(2)
        bench.loader.refused.add(second)
        await bench.rollout.poll()
        assert bench.answering() == first
        assert bench.rollout.complete
        assert second in bench.rollout.faults["ethanol"]
        assert "blob sha256:77 is truncated" in bench.rollout.faults["ethanol"]

    on_bench(body)


def test_a_repaired_version_takes_over_and_the_fault_ends() -> None:
    async def body(bench: Bench) -> None:
        bench.publish(1)
        await bench.rollout.poll()
        second = bench.publish(2)
        bench.loader.refused.add(second)
        await bench.rollout.poll()
        bench.loader.refused.clear()
        bench.now[0] += LONGEST_RETRY_S
        await bench.rollout.poll()
        assert bench.answering() == second
        assert bench.rollout.faults == {}

    on_bench(body)


def test_a_refused_version_is_tried_ever_more_rarely() -> None:
    async def body(bench: Bench) -> None:
        second = bench.publish(2)
        bench.loader.refused.add(second)
        for _ in range(300):
            await bench.rollout.poll()
            bench.now[0] += 1.0
        # Pauses of 1, 2, 4 ... 32 s, then one attempt a minute.
        assert len(bench.loader.loads) == 7 + (300 - 63) // 60
        assert not bench.rollout.complete

    on_bench(body)


def test_a_store_that_goes_away_changes_nothing_but_the_faults() -> None:
    async def body(bench: Bench) -> None:
        first = bench.publish(1)
        await bench.rollout.poll()
        bench.store.down = True
        await bench.rollout.poll()
        assert bench.answering() == first
        assert bench.rollout.complete
        assert bench.rollout.faults == {"store": "the store is down"}
        bench.store.down = False
        await bench.rollout.poll()
        assert bench.rollout.faults == {}

    on_bench(body)


def test_a_named_bank_survives_the_loss_of_the_store_too() -> None:
    async def body(bench: Bench) -> None:
        first = bench.publish(1)
        await bench.rollout.poll()
        bench.store.down = True
        await bench.rollout.poll()
        assert bench.answering() == first
        assert "the store is down" in bench.rollout.faults["ethanol"]

    on_bench(body, selections=(("ethanol", "stable"),))


def test_a_bank_that_is_published_later_is_served_without_a_restart() -> None:
    async def body(bench: Bench) -> None:
        bench.publish(1)
        await bench.rollout.poll()
        bench.publish(3, name="water")
        await bench.rollout.poll()
        assert sorted(bench.rollout.served) == ["ethanol", "water"]
        assert bench.rollout.default_name() == "ethanol"

    on_bench(body)


def test_only_the_named_banks_are_served_and_the_first_is_the_default() -> None:
    async def body(bench: Bench) -> None:
        bench.publish(1)
        bench.publish(2, name="methane")
        canary = bench.publish(3, name="water", alias="canary")
        await bench.rollout.poll()
        assert bench.rollout.default_name() == "water"
        assert bench.answering("water") == canary
        with pytest.raises(UnknownModel, match="the models are: ethanol, water"):
            bench.rollout.listing("methane")

    on_bench(body, selections=(("water", "canary"), ("ethanol", "stable")))


def test_a_named_bank_that_is_missing_is_not_complete() -> None:
    async def body(bench: Bench) -> None:
        bench.publish(1)
        await bench.rollout.poll()
        assert not bench.rollout.complete
        assert "water" in bench.rollout.faults

    on_bench(body, selections=(("ethanol", "stable"), ("water", "stable")))


def test_versions_are_found_by_alias_prefix_and_digest() -> None:
    async def body(bench: Bench) -> None:
        first, second = bench.publish(1), bench.publish(2)
        canary = bench.publish(3, alias="canary")
        await bench.rollout.poll()
        find = bench.rollout.digest
        assert find("ethanol", "stable") == second
        assert find("ethanol", "canary") == canary
        assert find("ethanol", first) == first
        assert find("ethanol", first.removeprefix("sha256:")[:8]) == first
        for unknown in (first.removeprefix("sha256:")[:7], "0" * 16, "beta"):
            with pytest.raises(UnknownModel):
                find("ethanol", unknown)
        with pytest.raises(UnknownModel, match="the models are: ethanol"):
            find("water", None)

    on_bench(body)


def test_a_pinned_version_is_loaded_on_demand_and_once() -> None:
    async def body(bench: Bench) -> None:
        first = bench.publish(1)
        bench.publish(2)
        await bench.rollout.poll()
        assert first not in bench.loader.loads
        answers = await asyncio.gather(*(bench.rollout.get("ethanol", first) for _ in range(5)))
        assert answers == [f"loaded {first}"] * 5
        assert bench.loader.loads.count(first) == 1

    on_bench(body)


def test_old_versions_leave_memory_and_the_least_used_first() -> None:
    async def body(bench: Bench) -> None:
        digests = [bench.publish(number) for number in (1, 2, 3)]
        await bench.rollout.poll()
        for digest in (*digests[:2], digests[0]):
            await bench.rollout.get("ethanol", digest)
        in_memory = [bench.rollout.in_memory(each) is not None for each in digests]
        assert in_memory == [True, False, True]

    on_bench(body)


def test_a_pinned_version_that_cannot_be_loaded_says_why() -> None:
    async def body(bench: Bench) -> None:
        first = bench.publish(1)
        bench.publish(2)
        await bench.rollout.poll()
        bench.loader.refused.add(first)
        with pytest.raises(NotReady, match="blob sha256:77 is truncated"):
            await bench.rollout.get("ethanol", first)

    on_bench(body)


def test_before_the_first_poll_nothing_is_ready() -> None:
    async def body(bench: Bench) -> None:
        assert not bench.rollout.complete
        with pytest.raises(NotReady):
            bench.rollout.default_name()

    on_bench(body)


def test_manifests_are_read_once() -> None:
    async def body(bench: Bench) -> None:
        bench.publish(1)
        for _ in range(3):
            await bench.rollout.poll()
        assert len(bench.store.manifests_read) == 1

    on_bench(body)


def test_watching_follows_the_store_by_itself() -> None:
    async def run() -> None:
        store, loader = FlakyStore(Store.open("memory://")), Loader()
        loader.gate.set()
        rollout = Rollout(store, loader, RolloutPolicy(poll_interval_s=0.001))
        bench = Bench(store, loader, rollout, [0.0])
        bench.publish(1)
        rollout.start()
        second = bench.publish(2)
        async with asyncio.timeout(PATIENCE_S):
            while not rollout.complete or bench.answering() != second:  # noqa: ASYNC110 - polled
                await asyncio.sleep(0.001)
        await rollout.stop()

    asyncio.run(run())
