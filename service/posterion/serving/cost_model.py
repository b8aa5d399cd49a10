"""How long a batch will take, learnt from those that have finished.

A batch takes ``fixed + per_edge * edges + per_atom * atoms`` seconds, edges and atoms times
samples: launching kernels costs the same for any batch, messages go along edges, products
with weights along atoms. The three are fitted by least squares of relative errors with
forgetting, so that a small batch counts as much as a large one and a device may change its
pace; none is negative. What recent batches do not tell apart stays as it was.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from posterion.serving.formation import Cost

FORGETTING: Final = 0.98
"""Weight of the past per batch: about fifty batches are remembered."""

LARGEST_STEP: Final = 3.0
"""A time further off by this factor is counted as off by this factor."""

SURPRISES_TO_FORGET: Final = 3
"""So many of these in a row are no outliers: the device has changed, and we start again."""

BATCHES_BEFORE_DOUBT: Final = 3
"""So many batches are believed whatever they took."""

SHORTEST_S: Final = 1e-6
"""No batch takes less; errors are relative to its time, which must not be zero."""

_PERSISTENCE: Final = np.array([1e-2, 1e-4, 1e-4])
"""Pull towards the last estimate, relative to what the data say about a coefficient.

A single batch is so attributed to its edges and atoms: a costly first one does not make
every later one seem as costly.
"""

_PRIOR: Final = (1e-3, 1e-8, 1e-8)
"""Seconds, and seconds per edge and per atom: faster than any device we know.

Before the first batch nobody is refused for lack of time, and memory alone bounds a batch.
"""

Vector = NDArray[np.float64]


class CostModel:
    """Predicts the time of a batch. Belongs to one kind of batch on one device."""

    def __init__(self) -> None:
        """Start from a prior that is too fast."""
        self._coefficients: Vector = np.array(_PRIOR)
        self._normal: Vector = np.zeros((3, 3))
        self._target: Vector = np.zeros(3)
        self._n_batches = 0
        self._n_surprises = 0

    @property
    def fixed_s(self) -> float:
        """Seconds that a batch takes whatever is in it."""
        return float(self._coefficients[0])

    def seconds(self, cost: Cost) -> float:
        """Predicted time of a batch.

        Args:
            cost: Sum over its structures.

        Returns:
            Seconds.
        """
        fixed, per_edge, per_atom = self._coefficients.tolist()
        return float(fixed + per_edge * cost.edges + per_atom * cost.atoms)

    def learn(self, cost: Cost, elapsed_s: float) -> None:
        """Correct the estimate by a batch that went without failures.

        Args:
            cost: Sum over its structures.
            elapsed_s: Time it took.
        """
        measured_s = expected_s = max(elapsed_s, SHORTEST_S)
        if self._n_batches >= BATCHES_BEFORE_DOUBT:
            expected_s = max(self.seconds(cost), SHORTEST_S)
        elapsed_s = min(max(measured_s, expected_s / LARGEST_STEP), expected_s * LARGEST_STEP)
        self._n_surprises = self._n_surprises + 1 if elapsed_s != measured_s else 0
        if self._n_surprises == SURPRISES_TO_FORGET:
            self._forget()
            elapsed_s = expected_s = measured_s
        # Between errors relative to the measured time, for which a hiccup counts little and
        # a haste much, and to the expected one, for which it is the other way round.
        unit_s = (elapsed_s * expected_s) ** 0.5
        if not math.isfinite(unit_s):
            return
        self._n_batches += 1
        row = np.array([1.0, cost.edges, cost.atoms]) / unit_s
        self._normal = FORGETTING * self._normal + np.outer(row, row)
        self._target = FORGETTING * self._target + row * (elapsed_s / unit_s)
        self._solve()

    def _forget(self) -> None:
        """Drop the batches seen; the estimate stays until the next one."""
        self._normal, self._target = np.zeros((3, 3)), np.zeros(3)
        self._n_batches = self._n_surprises = 0

    def _solve(self) -> None:
        """Minimise the squared relative errors over coefficients that are not negative."""
        diagonal = self._normal.diagonal()
        # A batch of structures without edges says nothing about edges: their rows are zero,
        # and the pull alone keeps what was known.
        scale = np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
        normal = self._normal / (scale[:, None] * scale)
        normal.ravel()[:: len(scale) + 1] += _PERSISTENCE
        target = self._target / scale + _PERSISTENCE * (scale * self._coefficients)
        solution = np.linalg.solve(normal, target)
        if solution.min() < 0.0:
            factor = np.linalg.cholesky(normal)
            solution, _ = nnls(factor.T, np.linalg.solve(factor, target))
        self._coefficients = solution / scale
