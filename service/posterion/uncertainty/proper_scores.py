"""What a predictive distribution pays for the value that came, value by value.

Both scores are strictly proper: their expectation is least for the distribution that the
references really have, so neither can be improved by claiming a wrong width. The logarithm
punishes a reference far outside without bound; the CRPS grows no faster than its distance
and carries the unit of the quantity.

Mixtures are those of equally weighted Gaussians, one per posterior sample. All scores are
symmetric, so ``residual`` may be prediction minus reference.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr

FloatArray = NDArray[np.float64]


def gaussian_log_loss(residuals: FloatArray, std: FloatArray) -> FloatArray:
    """Negative log density of a Gaussian at each reference, in nats.

    ``log(std) + log(2 pi)/2 + (residual/std)^2/2``.

    Args:
        residuals: Mean minus reference, any shape.
        std: Standard deviations, same shape and unit.

    Returns:
        Same shape.

    Raises:
        ValueError: If the shapes differ or a standard deviation is not positive.
    """
    check_residuals(residuals, std)
    loss: FloatArray = np.log(std) + 0.5 * np.log(2.0 * np.pi) + 0.5 * (residuals / std) ** 2
    return loss


def mixture_log_loss(residuals: FloatArray, std: FloatArray) -> FloatArray:
    """Negative log density of the exact mixture at each reference, in nats.

    ``-log((1/K) sum_k N(reference | mean_k, std_k^2))``, by the log-sum-exp of the samples.

    Args:
        residuals: Each sample's mean minus the reference, shape ``(n_samples, ...)``.
        std: Each sample's standard deviation, same shape and unit.

    Returns:
        Shape ``(...)``.

    Raises:
        ValueError: If the shapes differ or a standard deviation is not positive.
    """
    log_densities = -gaussian_log_loss(residuals, std)
    loss: FloatArray = np.log(len(residuals)) - logsumexp(log_densities, axis=0)
    return loss


def gaussian_crps(residuals: FloatArray, std: FloatArray) -> FloatArray:
    """Continuous ranked probability score of a Gaussian, in the unit of the residuals.

    The integral over x of ``(P(X <= x) - [reference <= x])^2``; in closed form
    ``std (z (2 Phi(z) - 1) + 2 phi(z) - 1/sqrt(pi))`` with ``z = residual/std`` (Gneiting
    and Raftery, J. Am. Stat. Assoc. 102, 359, 2007, eq. 21 with the sign turned).

    Args:
        residuals: Mean minus reference, any shape.
        std: Standard deviations, same shape and unit.

    Returns:
        Same shape; |residual| where the distribution is sharp.

    Raises:
        ValueError: If the shapes differ or a standard deviation is not positive.
    """
    check_residuals(residuals, std)
    score: FloatArray = _mean_distance(residuals, std) - std / np.sqrt(np.pi)
    return score


def mixture_crps(residuals: FloatArray, std: FloatArray) -> FloatArray:
    """Continuous ranked probability score of the exact mixture, unit of the residuals.

    ``mean_k A(residual_k, std_k^2) - mean_kl A(residual_k - residual_l, std_k^2 + std_l^2)/2``
    where ``A(m, s^2) = E|N(m, s^2)| = 2 s phi(m/s) + m (2 Phi(m/s) - 1)`` (Grimit, Gneiting,
    Berrocal and Johnson, Q. J. R. Meteorol. Soc. 132, 2925, 2006, eq. 5 and 6).

    Args:
        residuals: Each sample's mean minus the reference, shape ``(n_samples, ...)``.
        std: Each sample's standard deviation, same shape and unit.

    Returns:
        Shape ``(...)``.

    Raises:
        ValueError: If the shapes differ or a standard deviation is not positive.
    """
    check_residuals(residuals, std)
    n_samples = len(residuals)
    to_reference = _mean_distance(residuals, std).mean(axis=0)
    # Two draws of one component; those of different components follow pair by pair, which
    # needs no array of n_samples^2 entries per value.
    among = 2.0 / np.sqrt(np.pi) * std.sum(axis=0)
    for first in range(n_samples - 1):
        others = slice(first + 1, n_samples)
        distance = _mean_distance(
            residuals[others] - residuals[first], np.hypot(std[others], std[first])
        )
        among += 2.0 * distance.sum(axis=0)
    score: FloatArray = to_reference - 0.5 * among / n_samples**2
    return score


def check_residuals(residuals: FloatArray, std: FloatArray) -> None:
    """Refuse what no score is defined for.

    Raises:
        ValueError: If there is nothing, the shapes differ, or a standard deviation is not
            positive.
    """
    if residuals.size == 0:
        raise ValueError("a score needs at least one residual, got none")
    if residuals.shape != std.shape:
        raise ValueError(
            f"residuals and std must have one shape, got {residuals.shape} and {std.shape}"
        )
    if not np.all(std > 0.0):
        raise ValueError(f"std must be positive, the smallest is {np.min(std)}")


def _mean_distance(mean: FloatArray, std: FloatArray) -> FloatArray:
    """``E|X|`` of X ~ N(mean, std^2)."""
    z = mean / std
    density = np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)
    distance: FloatArray = 2.0 * std * density + mean * (2.0 * ndtr(z) - 1.0)
    return distance
