"""How large a batch may grow on a device whose memory is only known by trying.

A batch that did not fit halves the bound at once: on edges or on atoms, whichever it used
more of. The bound grows back slowly, by an eighth after a run of batches that fitted, up to
an eighth below what has failed. That is tried again after a run many times as long: memory
may have been short for a while only, because another process held it. However little has
failed, the bound keeps a small part of what is configured, without which every batch would
be a single structure.
"""

from dataclasses import replace

from posterion.serving.formation import Cost

SUCCESSES_BEFORE_GROWTH = 256
SUCCESSES_BEFORE_TRIAL = 16 * SUCCESSES_BEFORE_GROWTH
"""So many batches fit before the bound grows towards what has failed."""

HEADROOM = (7, 8)
"""Fraction of the smallest batch that did not fit which is not exceeded until then."""

SMALLEST_SHARE = 64
"""The bound never falls below the configured one divided by this."""


class AdaptiveBounds:
    """The bound of the next batch."""

    def __init__(self, configured: Cost) -> None:
        """Start at the configured bound.

        Args:
            configured: The bound that is never exceeded.
        """
        self._configured = configured
        self._floor = Cost(
            edges=max(1, configured.edges // SMALLEST_SHARE),
            atoms=max(1, configured.atoms // SMALLEST_SHARE),
        )
        self._ceiling = configured
        self._current = configured
        self._n_successes = 0

    @property
    def current(self) -> Cost:
        """What the next batch may cost."""
        return self._current

    def shrink(self, failed: Cost) -> None:
        """Halve the bound on what a batch that did not fit used most of, and remember it.

        Args:
            failed: Cost of that batch. One above the bound, a large structure by itself,
                says nothing about batches within it.
        """
        self._n_successes = 0
        if not failed.fits(self._current):
            return
        half, below, floor = failed.halved(), _below(failed), self._floor
        edges_used = failed.edges / self._current.edges
        atoms_used = failed.atoms / self._current.atoms
        if edges_used >= atoms_used:
            self._current = replace(self._current, edges=max(floor.edges, half.edges))
            self._ceiling = replace(self._ceiling, edges=max(floor.edges, below.edges))
        if atoms_used >= edges_used:
            self._current = replace(self._current, atoms=max(floor.atoms, half.atoms))
            self._ceiling = replace(self._ceiling, atoms=max(floor.atoms, below.atoms))

    def succeed(self) -> None:
        """Note a batch that fitted; enough of them in a row let the bound grow."""
        if self._current == self._configured:
            return
        at_ceiling = self._current == self._ceiling
        self._n_successes += 1
        if self._n_successes < (SUCCESSES_BEFORE_TRIAL if at_ceiling else SUCCESSES_BEFORE_GROWTH):
            return
        self._n_successes = 0
        if at_ceiling:
            self._ceiling = _grown(self._ceiling, self._configured)
        self._current = _grown(self._current, self._ceiling)


def _below(failed: Cost) -> Cost:
    kept, of = HEADROOM
    return Cost(edges=max(1, failed.edges * kept // of), atoms=max(1, failed.atoms * kept // of))


def _grown(bound: Cost, limit: Cost) -> Cost:
    """A bound an eighth larger, within a limit."""
    return Cost(
        edges=min(limit.edges, bound.edges * 9 // 8 + 1),
        atoms=min(limit.atoms, bound.atoms * 9 // 8 + 1),
    )
