"""When a failed request is sent again, and when it is given up.

Predictions have no side effects, so every request may be repeated. The service's own hint
(``Retry-After``) comes first; without one the delay doubles from attempt to attempt. Delays
are spread at random, so that clients which failed together do not return together.
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from posterion_client._errors import InvalidArgument, PosterionError

logger = logging.getLogger("posterion_client")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long and how often a request is repeated.

    Attributes:
        budget_s: No attempt starts later than this many seconds after the first; 0 = never
            repeat.
        first_delay_s: Delay after the first failure, doubled after each further one.
        max_delay_s: Largest delay the client chooses itself.
        jitter: Fraction of a chosen delay that is left to chance, 0 to 1.
    """

    budget_s: float = 60.0
    first_delay_s: float = 0.5
    max_delay_s: float = 8.0
    jitter: float = 0.25

    def __post_init__(self) -> None:
        """Refuse settings under which the client would never pause."""
        if self.budget_s < 0:
            raise InvalidArgument(f"budget_s must be 0 or more, got {self.budget_s}")
        if not 0 < self.first_delay_s <= self.max_delay_s:
            raise InvalidArgument(
                "0 < first_delay_s <= max_delay_s must hold, got "
                f"{self.first_delay_s} and {self.max_delay_s}"
            )
        if not 0 <= self.jitter <= 1:
            raise InvalidArgument(f"jitter must be from 0 to 1, got {self.jitter}")


class Pacer(Protocol):
    """Time and chance, as the retries of a `Client` need them."""

    def now(self) -> float:
        """Seconds on a clock that never goes back."""

    def sleep(self, seconds: float) -> None:
        """Wait."""

    def random(self) -> float:
        """A number from 0 to 1, evenly distributed."""


class AsyncPacer(Protocol):
    """Time and chance, as the retries of an `AsyncClient` need them."""

    def now(self) -> float:
        """Seconds on a clock that never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Wait without blocking the event loop."""

    def random(self) -> float:
        """A number from 0 to 1, evenly distributed."""


class _Machine:
    """The machine's clock and its entropy."""

    def __init__(self) -> None:
        self._generator = np.random.default_rng()

    def now(self) -> float:
        """Seconds on the monotonic clock."""
        return time.monotonic()

    def random(self) -> float:
        """A number from 0 to 1, evenly distributed."""
        return float(self._generator.random())


class SystemPacer(_Machine):
    """Real time, for a `Client`."""

    def sleep(self, seconds: float) -> None:
        """Wait, blocking the thread."""
        time.sleep(seconds)


class AsyncSystemPacer(_Machine):
    """Real time, for an `AsyncClient`."""

    async def sleep(self, seconds: float) -> None:
        """Wait without blocking the event loop."""
        await asyncio.sleep(seconds)


class Attempts:
    """The failures of one request so far, and what follows from them.

    Args:
        policy: How long and how often to repeat.
        started_s: When the first attempt began, on the pacer's clock.
        deadline_s: Seconds after which the caller no longer wants the answer, or None.
    """

    def __init__(self, policy: RetryPolicy, *, started_s: float, deadline_s: float | None) -> None:
        self._policy = policy
        self._failures = 0
        budget_s = policy.budget_s if deadline_s is None else min(policy.budget_s, deadline_s)
        self._give_up_at_s = started_s + budget_s

    def delay_s(self, error: PosterionError, *, now_s: float, chance: float) -> float:
        """Seconds to wait before the next attempt.

        Args:
            error: What the last attempt came to.
            now_s: Now, on the clock of ``started_s``.
            chance: A number from 0 to 1, evenly distributed.

        Raises:
            PosterionError: ``error`` itself, if repeating cannot help or comes too late.
        """
        self._failures += 1
        error.attempts = self._failures
        if not error.retryable:
            raise error
        delay_s = self._wanted_delay_s(error, chance)
        if now_s + delay_s >= self._give_up_at_s:
            raise error
        logger.warning(
            "%s: %s; attempt %d follows in %.1f s",
            error.code,
            error.detail,
            self._failures + 1,
            delay_s,
        )
        return delay_s

    def _wanted_delay_s(self, error: PosterionError, chance: float) -> float:
        policy = self._policy
        if error.retry_after_s is not None:
            return error.retry_after_s + policy.jitter * policy.first_delay_s * chance
        doublings = min(self._failures - 1, 30)
        delay_s = min(policy.first_delay_s * 2.0**doublings, policy.max_delay_s)
        return delay_s * (1.0 - policy.jitter * chance)
