"""How SIGTERM and SIGINT reach a service that has other things to do."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Stopped(BaseException):
    """A signal arrived while the service was starting."""


class StopSignal:
    """Whether the service was asked to stop; interrupts the start, not the drain."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.interrupt = True

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """Note the signal; break off what is running, if that is allowed.

        Raises:
            Stopped: At the first signal, while ``interrupt`` is set.
        """
        first = not self.event.is_set()
        self.event.set()
        if first and self.interrupt:
            raise Stopped

    def install(self) -> None:
        """Take over SIGTERM and SIGINT; Ray installs its own when it starts."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self)


@contextlib.contextmanager
def stop_signal() -> Iterator[StopSignal]:
    """Take over the signals inside the ``with`` block."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    stop = StopSignal()
    stop.install()
    try:
        yield stop
    finally:
        stop.interrupt = False
        for number, handler in before.items():
            signal.signal(number, handler)
