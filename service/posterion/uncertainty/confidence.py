"""How probable it is that an energy is right, learnt from the labels that came back.

The calibrated standard deviation of an energy may be off by a common factor where a trajectory
has drifted away from the calibration frames. Give the square of that factor an inverse-gamma
prior, let every label say how its residual compares with the standard deviation, and the error
of the next energy follows a Student-t law (Gelman et al., Bayesian Data Analysis, 3rd ed.,
section 2.6; used by Rensmeyer and coworkers to decide when to call the reference method).
Everything learnt is three numbers, so whoever asks can keep them.
"""

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from scipy.special import stdtr

PRIOR_SHAPE: Final = 1.5
PRIOR_SCALE: Final = 10.0
"""Inverse-gamma prior of the squared factor: before any label, errors of two and a half
standard deviations are usual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyConfidence:
    """What labels of one composition have taught about one sample set.

    Attributes:
        n: Residuals seen.
        sum_squares: Sum of ((reference - prediction - offset) / standard deviation)^2.
        offset: Reference minus prediction that is no error, eV: two methods may count energies
            from different zeros. None until the first label fixes it; 0 if they do not.
    """

    n: int = 0
    sum_squares: float = 0.0
    offset: float | None = None

    @property
    def degrees_of_freedom(self) -> float:
        """Nu of the Student-t law."""
        return self.n + 2.0 * PRIOR_SHAPE

    @property
    def scale(self) -> float:
        """Scale of the Student-t law, in predicted standard deviations."""
        return float(np.sqrt((2.0 * PRIOR_SCALE + self.sum_squares) / self.degrees_of_freedom))

    def with_label(self, *, reference: float, predicted: float, std: float) -> Self:
        """Learn from one label.

        Args:
            reference: Energy of the reference method, eV.
            predicted: Predicted energy, eV.
            std: Its calibrated standard deviation, eV, positive.

        Returns:
            The new state. The label that fixes the offset has no residual and is not counted.
        """
        if self.offset is None:
            return replace(self, offset=reference - predicted)
        z = (reference - predicted - self.offset) / std
        return replace(self, n=self.n + 1, sum_squares=self.sum_squares + z * z)

    def probability_within(self, threshold: float, *, std: float) -> float:
        """Probability that the error of a predicted energy is at most ``threshold``.

        Args:
            threshold: eV, positive.
            std: Calibrated standard deviation of the energy, eV, positive.

        Returns:
            Between 0 and 1.
        """
        tail = stdtr(self.degrees_of_freedom, -threshold / (self.scale * std))
        return float(1.0 - 2.0 * tail)
