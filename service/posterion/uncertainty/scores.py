"""How good were predictions and their uncertainties, measured against references.

Every score takes residuals (prediction minus reference) and, where it judges uncertainty,
the total standard deviation predicted for each of them. All arrays are flattened.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, ndtri

from posterion.uncertainty.proper_scores import check_residuals, gaussian_log_loss

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def mean_absolute_error(residuals: FloatArray) -> float:
    """Mean of ``|residual|``, in the unit of the residuals."""
    return float(np.mean(np.abs(_checked(residuals))))


def root_mean_square_error(residuals: FloatArray) -> float:
    """Square root of the mean of ``residual^2``, in the unit of the residuals."""
    return float(np.sqrt(np.mean(_checked(residuals) ** 2)))


def gaussian_nll(residuals: FloatArray, std: FloatArray) -> float:
    """Mean negative log likelihood of the moment-matched Gaussian, in nats per value.

    The mixture over posterior samples is replaced by the Gaussian of the same mean and
    total variance: ``log(std) + log(2 pi)/2 + (residual/std)^2/2``.
    """
    return float(np.mean(gaussian_log_loss(residuals, std)))


def sharpness(std: FloatArray) -> float:
    """Root of the mean predicted variance, in the unit of ``std``.

    Of two calibrated predictions the sharper one, with the smaller number, is the better
    (Gneiting, Balabdaoui and Raftery, J. R. Stat. Soc. B 69, 243, 2007).
    """
    return root_mean_square_error(std)


def interval_half_width(level: float) -> float:
    """Standard deviations on each side of the mean that hold ``level`` of a Gaussian.

    1.645 for a level of 0.90.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    return float(ndtri(0.5 + 0.5 * level))


def interval_coverage(residuals: FloatArray, std: FloatArray, *, level: float) -> float:
    """Fraction of references inside the central Gaussian interval of ``level``."""
    z = _standardised(residuals, std)
    return float(np.mean(np.abs(z) <= interval_half_width(level)))


def reliability_curve(residuals: FloatArray, std: FloatArray, levels: FloatArray) -> FloatArray:
    """Observed coverage at each nominal level, shape ``(n_levels,)``; ideal: ``levels``."""
    probabilities = _interval_probabilities(residuals, std)
    curve: FloatArray = np.mean(probabilities[None, :] <= levels[:, None], axis=1)
    return curve


def miscalibration_area(residuals: FloatArray, std: FloatArray) -> float:
    """Integral over p in (0, 1) of ``|observed coverage of the p-interval - p|``.

    0 for a calibrated Gaussian, at most 0.5 (Kuleshov, Fenner and Ermon, ICML 2018; Tran et
    al., Mach. Learn.: Sci. Technol. 1, 025006, 2020).
    """
    frame = np.arange(residuals.size)
    return MiscalibrationArea(residuals, std, frame)(np.ones(residuals.size))


class MiscalibrationArea:
    """The miscalibration area when frames count more or less often."""

    def __init__(self, residuals: FloatArray, std: FloatArray, frame: IntArray) -> None:
        """Sort the probabilities of the smallest intervals that hold each reference.

        Args:
            residuals: Prediction minus reference, any shape of ``n`` values.
            std: Total standard deviations, same shape and unit.
            frame: Frame that each value belongs to, shape ``(n,)``.
        """
        probabilities = _interval_probabilities(residuals, std)
        order = np.argsort(probabilities)
        self._frame = frame[order]
        self._steps = np.concatenate(([0.0], probabilities[order], [1.0]))

    def __call__(self, weights: FloatArray, /) -> float:
        """The area with weighted frames; NaN without any weight.

        The observed coverage is a step function, so the integral is exact, piece by piece.

        Args:
            weights: Shape ``(n_frames,)``.
        """
        inside = np.concatenate(([0.0], np.cumsum(weights[self._frame])))
        if inside[-1] == 0.0:
            return float("nan")
        observed = inside / inside[-1]

        def antiderivative(p: FloatArray) -> FloatArray:
            half_square: FloatArray = 0.5 * (p - observed) * np.abs(p - observed)
            return half_square

        return float(np.sum(antiderivative(self._steps[1:]) - antiderivative(self._steps[:-1])))


def _interval_probabilities(residuals: FloatArray, std: FloatArray) -> FloatArray:
    """Probability of the smallest central interval that holds each reference, ``(n,)``."""
    z = _standardised(residuals, std)
    probabilities: FloatArray = erf(np.abs(z) / np.sqrt(2.0))
    return probabilities


def _standardised(residuals: FloatArray, std: FloatArray) -> FloatArray:
    check_residuals(residuals, std)
    z: FloatArray = (residuals / std).reshape(-1)
    return z


def _checked(residuals: FloatArray) -> FloatArray:
    if residuals.size == 0:
        raise ValueError("a score needs at least one residual, got none")
    return residuals
