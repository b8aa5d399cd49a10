"""The sessions of one replica: how many there are, and how they end together."""

import asyncio
import contextlib
from collections.abc import Iterator

from posterion.errors import Draining, Overloaded
from posterion.observability.session_metrics import SessionMetrics

RETRY_S = 5.0


class Interruptible:
    """A session's task, which may be called away from waiting but not from a step."""

    def __init__(self) -> None:
        """Belong to the current task."""
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._waits = False
        self._called = False

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Wait for the client inside the block.

        Raises:
            Draining: If called away.
        """
        self.check()
        self._waits = True
        try:
            yield
        except asyncio.CancelledError:
            if not self._called:
                raise
            self._task.uncancel()
            self.check()
        finally:
            self._waits = False

    def check(self) -> None:
        """Raise Draining if called away."""
        if self._called:
            raise Draining("the service is shutting down", retry_after_s=RETRY_S)

    def call_away(self) -> None:
        """End the wait, now or when it begins; may be called in a signal handler."""
        self._loop.call_soon_threadsafe(self._end_wait)

    def _end_wait(self) -> None:
        if not self._called:
            self._called = True
            if self._waits:
                self._task.cancel()


class Sessions:
    """Who is there. Belongs to one event loop."""

    def __init__(self, max_sessions: int, metrics: SessionMetrics) -> None:
        """Begin with none.

        Args:
            max_sessions: Most at once.
            metrics: Counts them and their steps.
        """
        self.metrics = metrics
        self._max_sessions = max_sessions
        self._present: set[Interruptible] = set()
        self._closed = False
        metrics.watch(lambda: len(self._present))

    @contextlib.contextmanager
    def admit(self) -> Iterator[Interruptible]:
        """Count a session while the block runs.

        Raises:
            Draining: If the service is shutting down.
            Overloaded: If there are enough.
        """
        session = Interruptible()
        if self._closed:
            session.call_away()
        elif len(self._present) >= self._max_sessions:
            raise Overloaded(
                f"{self._max_sessions} sessions are open, the most of one replica",
                retry_after_s=RETRY_S,
            )
        self._present.add(session)
        try:
            yield session
        finally:
            self._present.discard(session)

    def end(self) -> None:
        """Tell every session to end after its running step; see ``on_drain``."""
        self._closed = True
        for session in tuple(self._present):
            session.call_away()
