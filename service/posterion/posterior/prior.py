"""How probable the parameters are before any datum is seen."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from posterion.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GaussianPrior:
    """Independent Gaussian for each parameter.

    Attributes:
        mean: Centre, a number or shape ``(n_parameters,)``: zero for a network trained from
            scratch, the pretrained parameters for a transfer prior.
        std: Standard deviation, a positive number or shape ``(n_parameters,)``.
    """

    mean: Tensor | float = 0.0
    std: Tensor | float = 1.0

    def __post_init__(self) -> None:
        """Refuse a standard deviation that is not positive and finite."""
        std = torch.as_tensor(self.std)
        if not bool((torch.isfinite(std) & (std > 0)).all()):
            raise ConfigurationError(
                f"the standard deviation of the prior must be positive, got {self.std}"
            )

    @property
    def precision(self) -> Tensor | float:
        """Curvature of the prior's potential: 1 / std^2, shape of ``std``."""
        return self.std**-2

    def log_density(self, position: Tensor) -> Tensor:
        """Log density, normalised.

        Args:
            position: Parameters, shape ``(n_chains, n_parameters)``.

        Returns:
            Log density of each chain, shape ``(n_chains,)``.
        """
        deviation = (position - self.mean) / self.std
        log_std = self.std.log() if isinstance(self.std, Tensor) else math.log(self.std)
        log_normalisation = log_std + 0.5 * math.log(2.0 * math.pi)
        return -(0.5 * deviation.square() + log_normalisation).sum(dim=-1)

    def gradient(self, position: Tensor) -> Tensor:
        """Gradient of the log density.

        Args:
            position: Parameters, shape ``(n_chains, n_parameters)``.

        Returns:
            The gradient, shape of ``position``.
        """
        return (self.mean - position) * self.precision
