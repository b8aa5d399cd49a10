"""The start of a service has an end, and says what it was waiting for."""

import contextlib
import signal
import time

import pytest

from posterion.serving.startup import StartupTooLong, bounded_startup

SHORT_S = 0.05
LONG_S = 30.0


def swallow(seconds: float) -> None:
    """Wait, as a library that swallows every error would."""
    with contextlib.suppress(Exception):
        time.sleep(seconds)


def test_a_start_that_takes_too_long_is_broken_off_wherever_it_is() -> None:
    with bounded_startup(SHORT_S) as startup:
        startup.waits_for("the banks")
        with pytest.raises(StartupTooLong):
            swallow(LONG_S)
    detail = startup.too_long().detail
    assert "after 0.05 s" in detail
    assert "waiting for the banks" in detail
    assert "--in-process" in detail


def test_a_start_in_time_is_left_alone_afterwards() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with bounded_startup(LONG_S) as startup:
        assert 0.0 < signal.getitimer(signal.ITIMER_REAL)[0] <= LONG_S
        startup.over()
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before
