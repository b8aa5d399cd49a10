"""The benchmark of queues runs, and its numbers are what it says."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.batching import best_waits, medians, ratios
from benchmarks.synthetic_load import (
    FIXED_S,
    PER_STRUCTURE_S,
    closed_loop,
    open_loop,
    perfect_queue,
)

ROOT = Path(__file__).parents[3]


def test_a_short_run_measures_every_contender() -> None:
    command = [sys.executable, "-m", "benchmarks.batching", "--quick"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120, check=True)
    contenders = json.loads(run.stdout)["medians"]
    assert set(contenders) == {"posterion", "serve.batch 0.1 s"}
    # One batch of all clients takes 46 ms; sixteen batches of one would take 496.
    shortest_ms = 1e3 * (FIXED_S + 16 * PER_STRUCTURE_S)
    assert shortest_ms <= contenders["posterion"]["closed_p50_ms"] < 400.0


def test_a_perfect_queue_takes_along_what_waits() -> None:
    # The first goes alone, 31 ms; the next two arrive meanwhile and go together, 32 ms.
    load = perfect_queue([0.0, 0.01, 0.02])
    assert load.latencies_s == pytest.approx((0.031, 0.053, 0.043))


def test_a_request_without_an_answer_counts_with_the_time_that_it_waited() -> None:
    async def run() -> None:
        never = asyncio.Event()
        load = await open_loop(never.wait, rate=200.0, seconds=0.1, seed=0, grace_s=0.2)
        assert load.n_unanswered == len(load.latencies_s) > 0
        assert min(load.latencies_s) >= 0.19

    asyncio.run(run())


def test_the_rate_of_clients_in_step_is_that_of_their_rounds() -> None:
    async def run() -> None:
        load = await closed_loop(
            lambda: asyncio.sleep(0.05), n_clients=4, seconds=0.5, warm_up_s=0.0
        )
        assert 4 / 0.075 < load.answered_per_s <= 4 / 0.05

    asyncio.run(run())


def test_the_best_waits_are_one_for_each_load() -> None:
    scanned = {
        0.0: {"open_p50_ms": 900.0, "closed_per_s": 340.0},
        0.05: {"open_p50_ms": 70.0, "closed_per_s": 160.0},
        0.1: {"open_p50_ms": 110.0, "closed_per_s": 110.0},
    }
    assert best_waits(scanned) == (0.0, 0.05)


def test_ratios_are_of_one_round() -> None:
    def row(scale: float) -> dict[str, float]:
        return {"open_p50_ms": scale, "open_p99_ms": scale, "closed_per_s": 1.0 / scale}

    measured = [{"posterion": row(k), "other": row(3.0 * k)} for k in (1.0, 10.0, 2.0)]
    assert medians(measured)["other"]["open_p50_ms"] == 6.0
    assert ratios(measured)["other"] == pytest.approx(
        {"open_p50_longer": 3.0, "open_p99_longer": 3.0, "closed_more": 3.0}
    )
