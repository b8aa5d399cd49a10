"""Which mean and variance a set of posterior samples predicts together.

The law of total variance splits the variance of an equally weighted mixture in two: what
the samples disagree on (epistemic) and the noise each sample itself predicts (aleatoric).
"""

from typing import NamedTuple

import torch
from torch import Tensor


class MixtureMoments(NamedTuple):
    """Mean and variance of a mixture, the variance split by its source.

    Attributes:
        mean: Predictive mean, shape ``(...)``, in the unit of the samples.
        epistemic: Variance of the sample means, shape ``(...)``, unit squared.
        aleatoric: Mean of the sample variances, shape ``(...)``, unit squared.
    """

    mean: Tensor
    epistemic: Tensor
    aleatoric: Tensor

    @property
    def total(self) -> Tensor:
        """Predictive variance, shape ``(...)``, unit squared."""
        return self.epistemic + self.aleatoric


def mixture_moments(means: Tensor, variances: Tensor) -> MixtureMoments:
    """Reduce per-sample Gaussians to the moments of their mixture.

    The variance over samples is divided by ``n_samples - 1``: the samples estimate the
    spread of the posterior they were drawn from.

    Args:
        means: Per-sample means, shape ``(n_samples, ...)``, e.g. forces in eV/Angstrom.
        variances: Per-sample variances, same shape, unit of ``means`` squared.

    Returns:
        The mixture moments; the sample axis is gone.

    Raises:
        ValueError: If the shapes differ or there are fewer than two samples.
    """
    if means.shape != variances.shape:
        raise ValueError(
            f"means and variances must have one shape, got {tuple(means.shape)} "
            f"and {tuple(variances.shape)}"
        )
    if means.shape[0] < 2:
        raise ValueError(f"means must hold at least two samples, got {means.shape[0]}")
    return MixtureMoments(
        mean=means.mean(dim=0),
        epistemic=means.var(dim=0, correction=1),
        aleatoric=variances.mean(dim=0),
    )


def bank_moments(means: Tensor, variances: Tensor, *, epistemic: Tensor | None) -> MixtureMoments:
    """The same, where each sample may state an epistemic variance of its own.

    By the law of total variance the two kinds of epistemic variance add: what the samples
    disagree on, and the mean of what each admits not to know. A single sample disagrees with
    nobody; whether that is an answer is for the calibration to say, not for this sum.

    Args:
        means: Per-sample means, shape ``(n_samples, ...)``.
        variances: Per-sample aleatoric variances, same shape, unit of ``means`` squared.
        epistemic: Per-sample epistemic variances, same shape and unit; None = zero.

    Returns:
        The moments; the sample axis is gone.

    Raises:
        ValueError: If the shapes differ.
    """
    if means.shape[0] == 1 and means.shape == variances.shape:
        moments = MixtureMoments(means[0], torch.zeros_like(means[0]), variances[0])
    else:
        moments = mixture_moments(means, variances)
    if epistemic is None:
        return moments
    if epistemic.shape != means.shape:
        raise ValueError(
            f"epistemic must have the shape of means, {tuple(means.shape)}, "
            f"got {tuple(epistemic.shape)}"
        )
    return moments._replace(epistemic=moments.epistemic + epistemic.mean(dim=0))
