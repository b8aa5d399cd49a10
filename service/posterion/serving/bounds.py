"""How large a batch may grow on a device whose memory is only known by trying.

A batch that did not fit halves the bound at once. It grows back slowly, by an eighth after a
run of batches that fitted, but for the life of the process it stays below what has failed.
"""

from posterion.serving.formation import Cost

SUCCESSES_BEFORE_GROWTH = 256
HEADROOM = (7, 8)
"""Fraction of the smallest batch that did not fit which is never exceeded again."""


class AdaptiveBounds:
    """The bound of the next batch."""

    def __init__(self, configured: Cost) -> None:
        """Start at the configured bound.

        Args:
            configured: The bound that is never exceeded.
        """
        self._ceiling = configured
        self._current = configured
        self._n_successes = 0

    @property
    def current(self) -> Cost:
        """What the next batch may cost."""
        return self._current

    def shrink(self, failed: Cost) -> None:
        """Halve the bound after a batch did not fit, and remember that it did not.

        Args:
            failed: Cost of that batch. One above the bound, a large structure by itself,
                says nothing about batches within it.
        """
        self._n_successes = 0
        if not failed.fits(self._current):
            return
        self._current = failed.halved()
        self._ceiling = Cost(edges=_below(failed.edges), atoms=_below(failed.atoms))

    def succeed(self) -> None:
        """Note a batch that fitted; enough of them in a row let the bound grow."""
        if self._current == self._ceiling:
            return
        self._n_successes += 1
        if self._n_successes < SUCCESSES_BEFORE_GROWTH:
            return
        self._n_successes = 0
        self._current = Cost(
            edges=min(self._ceiling.edges, self._current.edges * 9 // 8 + 1),
            atoms=min(self._ceiling.atoms, self._current.atoms * 9 // 8 + 1),
        )


def _below(failed: int) -> int:
    numerator, denominator = HEADROOM
    return max(1, failed * numerator // denominator)
