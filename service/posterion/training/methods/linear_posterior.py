"""Gaussian posterior of the weights of a linear model with known noise.

Bishop, Pattern Recognition and Machine Learning (2006), equations 3.53 and 3.54, with noise
that may differ from label to label.
"""

import torch
from torch import Tensor


def add_evidence(precision: Tensor, features: Tensor, noise_std: Tensor) -> Tensor:
    """Add to a precision what further labels say.

    Args:
        precision: Of the weights, shape ``(n_weights, n_weights)``.
        features: Derivative of each label's mean by the weights, ``(n_labels, n_weights)``.
        noise_std: Of each label, in its unit, shape ``(n_labels,)``.

    Returns:
        The new precision.
    """
    scaled = features / noise_std[:, None]
    return precision + scaled.T @ scaled


def draw_weights(
    mean: Tensor, precision: Tensor, *, n_samples: int, generator: torch.Generator
) -> Tensor:
    """Draw from N(mean, precision^-1) by way of the Cholesky factor of the precision.

    Args:
        mean: Shape ``(n_weights,)``.
        precision: Positive definite, shape ``(n_weights, n_weights)``.
        n_samples: Number of draws.
        generator: Source of randomness, CPU.

    Returns:
        Shape ``(n_samples, n_weights)``.
    """
    factor = torch.linalg.cholesky(precision)
    shape = (len(mean), n_samples)
    white = torch.randn(shape, generator=generator, dtype=mean.dtype)
    deviations: Tensor = torch.linalg.solve_triangular(factor.T, white, upper=True)
    return mean + deviations.T
