"""Who fills a device better: a batch formed when it is free, or one that a timer closes?

    python -m benchmarks.batching [--rounds N] [--output FILE]
    python -m benchmarks.batching --quick

The device is synthetic: 30 ms + 1 ms per structure, in a thread of its own, so that every
contender has the same one and only the queue in front of it differs. Contenders:

- posterion: the product's batcher, with its cost model, as the service runs it;
- serve.batch W: Ray Serve's decorator, which waits W seconds for a batch to fill. A scan over
  W comes first; the best of it and 0.1 s, the default of fairchem's batch server, then take
  turns with ours.

Load: structures that arrive at random, 230 per second (open loop: how long do they wait?),
and 16 clients that send the next structure after each answer (closed loop: how many are
answered?). No cluster, no network. Reported are medians over rounds, and of ratios within a
round, beside what a perfect queue would reach. A request without an answer one second after
the end counts with the time that it waited.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import JsonValue

from benchmarks.synthetic_load import (
    FIXED_S,
    PER_STRUCTURE_S,
    Ask,
    SyntheticDevice,
    arrivals,
    closed_loop,
    open_loop,
    perfect_queue,
)
from posterion.serving.batcher import Batcher
from posterion.serving.formation import Cost
from posterion.serving.work import BatcherLimits, Work

RESULTS: Final = Path(__file__).parent / "results" / "batching"
RATE: Final = 230.0
N_CLIENTS: Final = 16
FAIRCHEM_S: Final = 0.1
WAITS_S: Final = (0.0, 0.005, 0.02, 0.05, 0.1, 0.2)
LARGEST_BATCH: Final = 256

Contender = Callable[[SyntheticDevice], AbstractAsyncContextManager[Ask]]
Row = dict[str, float]


@asynccontextmanager
async def posterion(device: SyntheticDevice) -> AsyncIterator[Ask]:
    """Our batcher, bounded in memory like the other; ethanol's edges and atoms."""
    one = Cost(edges=72, atoms=9)
    bounds = Cost(edges=LARGEST_BATCH * one.edges, atoms=LARGEST_BATCH * one.atoms)
    batcher: Batcher[str, int, int] = Batcher(device, BatcherLimits(bounds=bounds))
    batcher.start()

    async def ask() -> object:
        with batcher.admission(1):
            return await batcher.submit("bank", [Work(item=1, cost=one)])

    yield ask
    await batcher.stop(drain_timeout_s=2.0)


@asynccontextmanager
async def serve_batch(device: SyntheticDevice, *, wait_s: float) -> AsyncIterator[Ask]:
    """Ray Serve's decorator, the device off the event loop.

    Outside a replica the decorator misses only the configuration that it compares its size
    with; it gets a real one.
    """
    # Importing ray leaves an event loop open behind it, which only this contender should pay.
    from ray import serve  # noqa: PLC0415
    from ray.serve import context  # noqa: PLC0415
    from ray.serve._private.common import DeploymentID, ReplicaID  # noqa: PLC0415
    from ray.serve._private.config import DeploymentConfig  # noqa: PLC0415
    from ray.serve.schema import ReplicaRank  # noqa: PLC0415

    context._set_internal_replica_context(  # noqa: SLF001 - there is no public way
        replica_id=ReplicaID("queue", DeploymentID("queue")),
        servable_object=serve_batch,
        _deployment_config=DeploymentConfig(max_ongoing_requests=100_000),
        rank=ReplicaRank(rank=0, node_rank=0, local_rank=0),
        world_size=1,
    )
    with ThreadPoolExecutor(max_workers=1) as pool:

        @serve.batch(max_batch_size=LARGEST_BATCH, batch_wait_timeout_s=wait_s)
        async def evaluate(items: list[int]) -> list[int]:
            loop = asyncio.get_running_loop()
            return list(await loop.run_in_executor(pool, device, "bank", items))

        yield lambda: evaluate(1)
        # A queue that is abandoned with requests in it complains; what it left is counted.
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        pool.shutdown(wait=True, cancel_futures=True)
    context._INTERNAL_REPLICA_CONTEXT = None  # type: ignore[assignment]  # noqa: SLF001 - as above


def row(contender: Contender, *, seconds: float, seed: int) -> Row:
    """Both loads on one contender, each on a device and an event loop of its own."""
    found: Row = {}

    async def run_open() -> None:
        device = SyntheticDevice()
        async with contender(device) as ask:
            load = await open_loop(ask, rate=RATE, seconds=seconds, seed=seed)
        found["open_p50_ms"] = load.quantile_ms(0.5)
        found["open_p99_ms"] = load.quantile_ms(0.99)
        found["open_unanswered"] = load.n_unanswered
        found["open_batch"] = float(np.mean(device.sizes))

    async def run_closed() -> None:
        device = SyntheticDevice()
        async with contender(device) as ask:
            load = await closed_loop(ask, n_clients=N_CLIENTS, seconds=seconds)
        found["closed_per_s"] = load.answered_per_s
        found["closed_p50_ms"] = load.quantile_ms(0.5)

    asyncio.run(run_open())
    asyncio.run(run_closed())
    return {name: float(f"{value:.4g}") for name, value in found.items()}


def scan(waits_s: tuple[float, ...], *, seconds: float) -> dict[float, Row]:
    """Every waiting time once."""
    return {
        wait_s: row(partial(serve_batch, wait_s=wait_s), seconds=seconds, seed=0)
        for wait_s in waits_s
    }


def best_waits(scanned: dict[float, Row]) -> tuple[float, ...]:
    """The waiting times with the lowest median latency and with the most answers."""
    quickest = min(scanned, key=lambda wait_s: scanned[wait_s]["open_p50_ms"])
    busiest = max(scanned, key=lambda wait_s: scanned[wait_s]["closed_per_s"])
    return tuple(sorted({quickest, busiest}))


def rounds(
    contenders: dict[str, Contender], *, n_rounds: int, seconds: float
) -> list[dict[str, Row]]:
    """Contenders take turns; the arrivals of one round are the same for all."""
    return [
        {
            name: row(contender, seconds=seconds, seed=1 + number)
            for name, contender in contenders.items()
        }
        for number in range(n_rounds)
    ]


def medians(measured: list[dict[str, Row]]) -> dict[str, Row]:
    """Median of every number of every contender over rounds."""
    return {
        name: {key: float(np.median([each[name][key] for each in measured])) for key in of_first}
        for name, of_first in measured[0].items()
    }


def ratios(measured: list[dict[str, Row]]) -> dict[str, Row]:
    """How many times longer others wait, and how many times more we answer: medians of ratios."""
    found: dict[str, Row] = {}
    for name in measured[0]:
        if name == "posterion":
            continue
        pairs = [(each[name], each["posterion"]) for each in measured]
        found[name] = {
            "open_p50_longer": float(
                np.median([o["open_p50_ms"] / p["open_p50_ms"] for o, p in pairs])
            ),
            "open_p99_longer": float(
                np.median([o["open_p99_ms"] / p["open_p99_ms"] for o, p in pairs])
            ),
            "closed_more": float(
                np.median([p["closed_per_s"] / o["closed_per_s"] for o, p in pairs])
            ),
        }
    return found


def perfect(*, n_rounds: int, seconds: float) -> dict[str, JsonValue]:
    """What no queue can beat on this device: both loads, and the arrivals of these rounds."""
    loads = [
        perfect_queue(arrivals(rate=RATE, seconds=seconds, seed=1 + number))
        for number in range(n_rounds)
    ]
    return {
        "open_p50_ms": float(f"{np.median([load.quantile_ms(0.5) for load in loads]):.4g}"),
        "open_p99_ms": float(f"{np.median([load.quantile_ms(0.99) for load in loads]):.4g}"),
        "closed_per_s": float(f"{N_CLIENTS / (FIXED_S + N_CLIENTS * PER_STRUCTURE_S):.4g}"),
    }


def measure(*, waits_s: tuple[float, ...], n_rounds: int, seconds: float) -> dict[str, JsonValue]:
    """Scan, then let the best, the default and ours take turns."""
    scanned = scan(waits_s, seconds=seconds)
    chosen = sorted({*best_waits(scanned), FAIRCHEM_S})
    contenders: dict[str, Contender] = {"posterion": posterion}
    for wait_s in chosen:
        contenders[f"serve.batch {wait_s:g} s"] = partial(serve_batch, wait_s=wait_s)
    measured = rounds(contenders, n_rounds=n_rounds, seconds=seconds)
    return {
        "scan_of_serve_batch": {f"{wait_s:g} s": dict(each) for wait_s, each in scanned.items()},
        "medians": {name: dict(each) for name, each in medians(measured).items()},
        "perfect_queue": perfect(n_rounds=n_rounds, seconds=seconds),
        "ratios": {name: dict(each) for name, each in ratios(measured).items()},
        "n_rounds": n_rounds,
        "seconds_per_load": seconds,
        "requests_per_s": RATE,
        "n_clients": N_CLIENTS,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.batching",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=2, help="turns of each contender (2)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each load in a turn (2)")
    parser.add_argument("--quick", action="store_true", help="one short turn, nothing written")
    parser.add_argument("--output", type=Path, default=RESULTS / "queues.json")
    return parser.parse_args()


def main() -> int:
    """Measure, print, write."""
    given = _arguments()
    if given.quick:
        found = measure(waits_s=(FAIRCHEM_S,), n_rounds=1, seconds=0.3)
    else:
        found = measure(waits_s=WAITS_S, n_rounds=given.rounds, seconds=given.seconds)
    print(json.dumps(found, indent=1))
    if not given.quick:
        from benchmarks.stamp import write_result  # noqa: PLC0415 - imports torch, for its version

        write_result(given.output, found, packages=("posterion", "ray", "numpy"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
