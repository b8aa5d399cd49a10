"""A device whose speed is known, and clients that send to it: what benchmarks of queues share."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

FIXED_S: Final = 0.030
PER_STRUCTURE_S: Final = 0.001
LATE_S: Final = 0.001

Ask = Callable[[], Awaitable[object]]
"""Sends one structure and returns with its answer."""


@dataclass(slots=True)
class SyntheticDevice:
    """Evaluates one batch at a time in 30 ms + 1 ms per structure, without computing.

    Attributes:
        sizes: Of the batches, in order.
    """

    sizes: list[int] = field(default_factory=list)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, _group: str, items: Sequence[int]) -> Sequence[int]:
        """Evaluate the items; blocks, as a GPU does, and holds no lock of Python's."""
        with self._turn:
            _wait(FIXED_S + PER_STRUCTURE_S * len(items))
            self.sizes.append(len(items))
        return list(items)


def _wait(seconds: float) -> None:
    """Take exactly so long: the system wakes a sleeper up to a millisecond late."""
    ends = time.perf_counter() + seconds
    time.sleep(max(0.0, seconds - LATE_S))
    while time.perf_counter() < ends:
        time.sleep(0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What clients saw.

    Attributes:
        latencies_s: Of every request that was answered; one that was not counts with the time
            that it had waited at the end.
        n_unanswered: Requests not answered at the end.
        answered_per_s: Rate of answers.
    """

    latencies_s: tuple[float, ...]
    n_unanswered: int
    answered_per_s: float

    def quantile_ms(self, q: float) -> float:
        """A quantile of the latencies, milliseconds."""
        return 1e3 * float(np.quantile(self.latencies_s, q))


def arrivals(*, rate: float, seconds: float, seed: int) -> list[float]:
    """Random moments: times between two are exponential.

    Args:
        rate: Mean number per second.
        seconds: Until when.
        seed: Of the moments.

    Returns:
        Seconds from the beginning, ascending.
    """
    rng = np.random.default_rng(seed)
    moments: list[float] = []
    at = 0.0
    while (at := at + rng.exponential(1.0 / rate)) < seconds:
        moments.append(at)
    return moments


def perfect_queue(moments: Sequence[float]) -> Load:
    """What clients would see of a device that takes along, at once, all that wait when it is free.

    Args:
        moments: When structures arrive, seconds, ascending.

    Returns:
        The same as of a measurement in which nothing but the device takes time.
    """
    latencies: list[float] = []
    free, first = 0.0, 0
    while first < len(moments):
        starts = max(free, moments[first])
        last = int(np.searchsorted(moments, starts, side="right"))
        free = starts + FIXED_S + PER_STRUCTURE_S * (last - first)
        latencies.extend(free - at for at in moments[first:last])
        first = last
    return Load(latencies_s=tuple(latencies), n_unanswered=0, answered_per_s=len(latencies) / free)


async def open_loop(
    ask: Ask, *, rate: float, seconds: float, seed: int, grace_s: float = 1.0
) -> Load:
    """Send at random moments, whether or not earlier requests are answered.

    Args:
        ask: Sends one structure.
        rate: Mean requests per second.
        seconds: How long to send.
        seed: Of the moments.
        grace_s: How long to wait for the last answers.

    Returns:
        What the clients saw.
    """
    clock = asyncio.get_running_loop().time
    latencies: list[float] = []
    tasks: dict[asyncio.Task[None], float] = {}

    async def one(due: float) -> None:
        await ask()
        latencies.append(clock() - due)

    began = clock()
    for moment in arrivals(rate=rate, seconds=seconds, seed=seed):
        due = began + moment
        await asyncio.sleep(max(0.0, due - clock()))
        tasks[asyncio.create_task(one(due))] = due
    await asyncio.wait(tasks, timeout=grace_s)
    ended = clock()
    left = [task for task in tasks if not task.done()]
    for task in left:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
    n_answered = len(latencies)
    latencies.extend(ended - tasks[task] for task in left)
    return Load(
        latencies_s=tuple(latencies),
        n_unanswered=len(left),
        answered_per_s=n_answered / (ended - began),
    )


async def closed_loop(ask: Ask, *, n_clients: int, seconds: float, warm_up_s: float = 0.3) -> Load:
    """Clients that send the next structure when the last one is answered, as dynamics does.

    Args:
        ask: Sends one structure.
        n_clients: How many.
        seconds: How long they are measured.
        warm_up_s: How long they run before.

    Returns:
        What they saw.
    """
    clock = asyncio.get_running_loop().time
    measured_from = clock() + warm_up_s
    until = measured_from + seconds
    answers: list[tuple[float, float]] = []

    async def client() -> None:
        while (sent := clock()) < until:
            await ask()
            answers.append((clock(), clock() - sent))

    await asyncio.gather(*(client() for _ in range(n_clients)))
    counted = [(at, latency) for at, latency in answers if measured_from <= at < until]
    # Clients in step with one another are answered together: count between two such times.
    n_later = len(counted) - n_clients
    lasting_s = counted[-1][0] - counted[n_clients - 1][0]
    return Load(
        latencies_s=tuple(latency for _, latency in counted),
        n_unanswered=0,
        answered_per_s=n_later / lasting_s,
    )
