"""How probable a force error is, given what the noise readout says of the atom.

The residual is taken by component, three independent errors with one variance, or as the norm
of the error vector with a one-dimensional density, as the single-network methods were compared
by Tan, Urata, Goldman, Dietschreit and Gomez-Bombarelli (npj Comput. Mater. 9, 225, 2023). A
density of the norm puts E|dF|^2 where a component has a third of it; a network trained so is
published with its noise divided by the square root of three.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from posterion.network.config import NetworkConfig, NoiseKind
from posterion.network.noise import Evidence, evidence
from posterion.training.section import Residual


class ForceLikelihood(Protocol):
    """Negative log likelihood of the force of one atom."""

    @property
    def noise_readout(self) -> NoiseKind:
        """What the network's readout has to say."""
        ...

    def __call__(self, error: Tensor, noise: Tensor, *, scale: float) -> Tensor:
        """Evaluate the loss of every atom.

        Args:
            error: Predicted minus reference force, shape ``(..., 3)``, eV/Angstrom.
            noise: Outputs of the noise readout, shape ``(..., n_outputs)``.
            scale: s0 of the readout, eV/Angstrom.

        Returns:
            Nats up to a constant, shape ``(...)``.
        """
        ...


@dataclass(frozen=True, slots=True)
class GaussianForces:
    """Gaussian errors with a standard deviation per atom; see `ForceLikelihood`.

    Attributes:
        residual: What is Gaussian.
    """

    residual: Residual = "component"

    @property
    def noise_readout(self) -> NoiseKind:
        """See `ForceLikelihood`."""
        return "gaussian"

    def __call__(self, error: Tensor, noise: Tensor, *, scale: float) -> Tensor:
        """See `ForceLikelihood`."""
        log_sigma = math.log(scale) + noise[..., 0]
        n_residuals = 3 if self.residual == "component" else 1
        squared: Tensor = error.square().sum(dim=-1)
        return squared * torch.exp(-2 * log_sigma) / 2 + n_residuals * log_sigma


@dataclass(frozen=True, slots=True)
class EvidentialForces:
    """Student-t errors from a normal-inverse-gamma prior; see `ForceLikelihood`.

    Attributes:
        residual: What is distributed so.
        regularization: lambda, Angstrom/eV: weight of the evidence put into wrong forces.
    """

    residual: Residual = "component"
    regularization: float = 0.0

    @property
    def noise_readout(self) -> NoiseKind:
        """See `ForceLikelihood`."""
        return "evidential"

    def __call__(self, error: Tensor, noise: Tensor, *, scale: float) -> Tensor:
        """See `ForceLikelihood`."""
        found = evidence(noise, scale=scale)
        if self.residual == "norm":
            size = torch.linalg.vector_norm(error, dim=-1)
            return self._loss(error.square().sum(dim=-1), size, found)
        each = Evidence(*(part[..., None] for part in found))
        loss: Tensor = self._loss(error.square(), error.abs(), each).sum(dim=-1)
        return loss

    def _loss(self, squared: Tensor, size: Tensor, found: Evidence) -> Tensor:
        """Amini et al. (2020), equations 8 and 9."""
        nu, alpha, beta = found
        omega = 2.0 * beta * (1.0 + nu)
        negative_log_likelihood = (
            0.5 * torch.log(math.pi / nu)
            - alpha * torch.log(omega)
            + (alpha + 0.5) * torch.log(nu * squared + omega)
            + torch.lgamma(alpha)
            - torch.lgamma(alpha + 0.5)
        )
        return negative_log_likelihood + self.regularization * size * (2.0 * nu + alpha)


def published_network(network: NetworkConfig, residual: Residual) -> NetworkConfig:
    """The network whose noise is that of a force component, however it was trained.

    Args:
        network: The network in training.
        residual: Whose variance its noise is.

    Returns:
        The same network; with the unit of its noise divided by sqrt(3) after norms.
    """
    if residual == "component":
        return network
    return network.model_copy(update={"noise_scale": network.noise_scale / math.sqrt(3.0)})
