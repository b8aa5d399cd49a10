"""The start of a service on Ray: what it is waiting for, and how long at most."""

import contextlib
import logging
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Final

from posterion.errors import NotReady

REPEAT_S: Final = 5.0
"""A cluster that breaks off badly must not wait for ever either."""

logger = logging.getLogger(__name__)


class StartupTooLong(BaseException):
    """The time for the start is over; raised in the main thread, and swallowed by no library."""


class Startup:
    """One start, with an end."""

    def __init__(self, timeout_s: float) -> None:
        """Keep the limit.

        Args:
            timeout_s: Seconds from the start to readiness.
        """
        self._timeout_s = timeout_s
        self._step = "nothing"

    def waits_for(self, step: str) -> None:
        """Say what comes next.

        Args:
            step: What the start waits for from now on.
        """
        self._step = step
        logger.info("waiting for %s", step)

    def over(self) -> None:
        """End the limit: the service is ready, or has begun to end."""
        signal.setitimer(signal.ITIMER_REAL, 0.0)

    def too_long(self) -> NotReady:
        """The error of a start that took too long."""
        return NotReady(
            f"the service was not ready after {self._timeout_s:g} s: it was still waiting for "
            f"{self._step}; --startup-timeout gives it more time, --in-process does without Ray"
        )


@contextlib.contextmanager
def bounded_startup(timeout_s: float) -> Iterator[Startup]:
    """Bound the start of a service inside the ``with`` block; of the main thread only.

    Args:
        timeout_s: Seconds from now to readiness.

    Yields:
        The start. Where it takes too long, `StartupTooLong` is raised in the block.
    """

    def expire(_number: int, _frame: FrameType | None) -> None:
        raise StartupTooLong

    startup = Startup(timeout_s)
    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, timeout_s, REPEAT_S)
    try:
        yield startup
    finally:
        startup.over()
        signal.signal(signal.SIGALRM, before)
