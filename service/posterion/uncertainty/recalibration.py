"""How well an uncertainty could do if its scale and a floor were free: the calibrated NLL.

``std^2 = a u + b`` with a, b >= 0 chosen by likelihood turns any number that should grow with
the error into a variance, so that methods of different scale can be compared (the cNLL of
Hirschfeld et al., J. Chem. Inf. Model. 60, 3770, 2020).
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from posterion.uncertainty.proper_scores import gaussian_log_loss

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Logarithms of the two shares of the mean squared residual between which is searched: a
# share of e^-20 is none, e^7 leaves room for outliers.
_BOUNDS: Final = (-20.0, 7.0)
# The likelihood may have two valleys: all variance from a u, or all of it from b.
_STARTS: Final = ((-0.05, -3.0), (-3.0, -0.05), (-0.7, -0.7))


class VarianceFit(NamedTuple):
    """``variance = slope * max(uncertainty - origin, 0) + offset``.

    Attributes:
        slope: Residual unit squared per unit of the uncertainty.
        offset: Residual unit squared.
        origin: Unit of the uncertainty; zero unless the uncertainty can be negative.
    """

    slope: float
    offset: float
    origin: float

    def std(self, uncertainty: FloatArray) -> FloatArray:
        """Standard deviations, same shape, in the unit of the residuals."""
        above = np.maximum(uncertainty - self.origin, 0.0)
        std: FloatArray = np.sqrt(self.slope * above + self.offset)
        return std


def fit_variance(uncertainty: FloatArray, residuals: FloatArray) -> VarianceFit:
    """Find slope and offset of least Gaussian NLL.

    Args:
        uncertainty: Anything that should grow with the squared residual, e.g. a variance,
            shape ``(n,)``. Negative numbers (a log density) are counted from the smallest.
        residuals: Prediction minus reference, shape ``(n,)``.

    Returns:
        The fit.

    Raises:
        ValueError: If every residual is zero: there is no variance to fit.
    """
    mean_square = float(np.mean(residuals**2))
    if mean_square == 0.0:
        raise ValueError("a variance needs a residual other than zero, got none")
    origin = min(0.0, float(uncertainty.min()))
    above = uncertainty - origin
    mean = float(above.mean())
    unit = above / mean if mean > 0.0 else np.zeros_like(above)
    squares = residuals**2 / mean_square

    def loss(shares: FloatArray) -> tuple[float, FloatArray]:
        """Twice the NLL but for a constant, and its gradient."""
        slope, offset = np.exp(shares)
        variance = slope * unit + offset
        ratio = squares / variance
        weight = (1.0 - ratio) / variance
        gradient = np.array([slope * np.mean(weight * unit), offset * np.mean(weight)])
        return float(np.mean(np.log(variance) + ratio)), gradient

    fits = [
        minimize(loss, np.array(start), jac=True, method="L-BFGS-B", bounds=[_BOUNDS, _BOUNDS])
        for start in _STARTS
    ]
    slope, offset = np.exp(min(fits, key=lambda fit: fit.fun).x) * mean_square
    return VarianceFit(
        slope=float(slope) / mean if mean > 0.0 else 0.0, offset=float(offset), origin=origin
    )


def calibrated_log_loss(
    uncertainty: FloatArray, residuals: FloatArray, frame: IntArray, *, seed: int
) -> FloatArray:
    """Negative log density of each reference under a variance fitted on the other half.

    Frames are cut into two random halves; each half is judged by the fit on the other, so
    no value helped to fit what judges it.

    Args:
        uncertainty: See `fit_variance`, shape ``(n,)``.
        residuals: Prediction minus reference, shape ``(n,)``.
        frame: Frame that each value belongs to, shape ``(n,)``.
        seed: Of the halves.

    Returns:
        Nats, shape ``(n,)``.

    Raises:
        ValueError: If there are fewer than two frames, or a half without any error.
    """
    frames = np.unique(frame)
    if frames.size < 2:
        raise ValueError(f"two halves need at least two frames, got {frames.size}")
    shuffled = np.random.default_rng(seed).permutation(frames)
    first = np.isin(frame, shuffled[: frames.size // 2])
    loss = np.empty(residuals.shape)
    for judged in (first, ~first):
        fit = fit_variance(uncertainty[~judged], residuals[~judged])
        loss[judged] = gaussian_log_loss(residuals[judged], fit.std(uncertainty[judged]))
    return loss
