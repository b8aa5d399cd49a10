"""Who may come in: how many structures are present at once, and when to come back.

A structure is present from the moment its request is admitted until it is answered.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from posterion.errors import Draining, Overloaded

SHORTEST_RETRY_S = 1.0
LONGEST_RETRY_S = 30.0
DRAINING_RETRY_S = 5.0


class Admission:
    """Counts the structures that are present. Belongs to one event loop."""

    def __init__(self, max_structures: int, clearing_s: Callable[[], float]) -> None:
        """Open the door.

        Args:
            max_structures: Structures present at once.
            clearing_s: Estimates when those present will be answered, in seconds.
        """
        self._max_structures = max_structures
        self._n_present = 0
        self._closed = False
        self._clearing_s = clearing_s
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def n_present(self) -> int:
        """Structures admitted and not yet answered."""
        return self._n_present

    @contextlib.contextmanager
    def admit(self, n_structures: int) -> Iterator[None]:
        """Count the structures of a request as present while the block runs.

        Args:
            n_structures: Structures in the request.

        Raises:
            Draining: If the door is closed.
            Overloaded: If the structures present leave no room; an empty service takes any
                request.
        """
        if self._closed:
            raise Draining("the service is shutting down", retry_after_s=DRAINING_RETRY_S)
        if self._n_present and self._n_present + n_structures > self._max_structures:
            raise Overloaded(
                f"{self._n_present} structures are being served and the request brings "
                f"{n_structures}; the limit is {self._max_structures}",
                retry_after_s=retry_after_s(self._clearing_s()),
            )
        self._n_present += n_structures
        self._empty.clear()
        try:
            yield
        finally:
            self._n_present -= n_structures
            if self._n_present == 0:
                self._empty.set()

    def close(self) -> None:
        """Refuse further requests with Draining; those present stay."""
        self._closed = True

    async def until_empty(self) -> None:
        """Wait until nobody is present."""
        await self._empty.wait()


def retry_after_s(estimate_s: float) -> float:
    """When to come back: an estimate within the bounds of a retry, in seconds."""
    return min(LONGEST_RETRY_S, max(SHORTEST_RETRY_S, estimate_s))
