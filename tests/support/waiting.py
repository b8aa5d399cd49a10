"""Waiting for what another process will do, with a deadline."""

import time
from collections.abc import Callable

DEADLINE_S = 120.0
POLL_S = 0.05


def until(condition: Callable[[], bool], *, deadline_s: float = DEADLINE_S) -> None:
    """Return as soon as the condition holds; fail if it does not in time."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {deadline_s:g} s: {condition}")
        time.sleep(POLL_S)
