"""How large a batch may grow on a device whose memory is only known by trying.

The configured bound is halved when the device runs out of memory and grows back slowly, by
an eighth after a run of batches that fitted, never above the configured bound.
"""

from posterion.serving.formation import Cost

SUCCESSES_BEFORE_GROWTH = 256


class AdaptiveBounds:
    """The bound of the next batch."""

    def __init__(self, configured: Cost) -> None:
        """Start at the configured bound.

        Args:
            configured: The bound that is never exceeded.
        """
        self._configured = configured
        self._current = configured
        self._n_successes = 0

    @property
    def current(self) -> Cost:
        """What the next batch may cost."""
        return self._current

    def shrink(self, failed: Cost) -> None:
        """Halve the bound after a batch did not fit.

        Args:
            failed: Cost of that batch; a batch much smaller than the bound shows that half
                the bound is still too much.
        """
        tighter = Cost(
            edges=min(self._current.edges, failed.edges),
            atoms=min(self._current.atoms, failed.atoms),
        )
        self._current = tighter.halved()
        self._n_successes = 0

    def succeed(self) -> None:
        """Note a batch that fitted; enough of them in a row let the bound grow."""
        if self._current == self._configured:
            return
        self._n_successes += 1
        if self._n_successes < SUCCESSES_BEFORE_GROWTH:
            return
        self._n_successes = 0
        self._current = Cost(
            edges=min(self._configured.edges, self._current.edges * 9 // 8 + 1),
            atoms=min(self._configured.atoms, self._current.atoms * 9 // 8 + 1),
        )
