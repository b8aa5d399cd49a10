"""One way to run any sampler against a target and to measure what it samples."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray
from torch import Tensor

from posterion.posterior.types import LangevinState, SamplerUpdate

GradientFunction = Callable[[Tensor, torch.Generator], Tensor]
Advance = Callable[[LangevinState, Tensor, Tensor], LangevinState]

FRICTION = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long to look.

    Attributes:
        n_chains: Independent chains, advanced together.
        n_burn_in: Steps before the first record.
        n_steps: Steps with records.
        stride: Steps from one record to the next.
        seed: Seed of all noise.
    """

    n_chains: int = 2048
    n_burn_in: int = 500
    n_steps: int = 1000
    stride: int = 50
    seed: int = 0

    @property
    def n_records(self) -> int:
        """Records of one parameter, over all chains."""
        return self.n_chains * (self.n_steps // self.stride)

    def standard_error(self, *, correlation: float = 0.0) -> float:
        """Relative standard error of a Gaussian's variance, known mean.

        n independent squares of a Gaussian have relative error sqrt(2 / n). Records whose
        positions have correlation r from one to the next have squares of correlation r^2,
        which leaves n (1 - r^2) / (1 + r^2) independent ones.

        Args:
            correlation: r, between consecutive records of a chain.
        """
        remaining = (1.0 - correlation**2) / (1.0 + correlation**2)
        return float((2.0 / (self.n_records * remaining)) ** 0.5)


class Moments(NamedTuple):
    """Averages over chains and records.

    Attributes:
        second_moment: Of the position about the centre, shape ``(n_parameters,)``, float64.
        momentum_second_moment: Of the momentum over eta, same shape.
        virial: Mean of (q - centre) N g, same shape.
    """

    second_moment: Tensor
    momentum_second_moment: Tensor
    virial: Tensor


def run(
    update: SamplerUpdate,
    gradient: GradientFunction,
    step_size: Tensor,
    effort: Effort,
    *,
    n_data: int,
    temperature: float | Tensor = 1.0,
    centre: Tensor | float = 0.0,
    noise_correction: Tensor | None = None,
) -> Moments:
    """Run chains from the centre, at rest, and average their second moments.

    Args:
        update: The sampler.
        gradient: Gradient of U / N at a position, perhaps of a random minibatch.
        step_size: eta, shape ``(n_chains, n_parameters)``.
        effort: How long to look.
        n_data: N.
        temperature: T.
        centre: Mean of the target, where the chains start.
        noise_correction: Var(g), or None.

    Returns:
        The moments.
    """
    generator = torch.Generator().manual_seed(effort.seed)
    state = LangevinState(
        position=torch.zeros_like(step_size) + centre, momentum=torch.zeros_like(step_size)
    )
    sums = torch.zeros(3, step_size.shape[1], dtype=torch.float64)
    for step in range(effort.n_burn_in + effort.n_steps):
        g = gradient(state.position, generator)
        recorded = step >= effort.n_burn_in and (step + 1) % effort.stride == 0
        if recorded:
            sums[2] += ((state.position - centre) * g * n_data).double().mean(dim=0)
        state = update(
            state,
            g,
            step_size,
            n_data=n_data,
            friction=FRICTION,
            temperature=temperature,
            generator=generator,
            noise_correction=noise_correction,
        )
        if recorded:
            sums[0] += (state.position - centre).double().square().mean(dim=0)
            sums[1] += (state.momentum.double().square() / step_size).mean(dim=0)
    return Moments(*(sums / (effort.n_steps // effort.stride)))


def stationary_covariance(
    advance: Advance, *, curvature: float, gradient_variance: float = 0.0
) -> NDArray[np.float64]:
    """Exact covariance of (q, u) of one parameter on a Gaussian, from the step itself.

    One step maps (q, u, injected noise, gradient noise) linearly. Feeding unit vectors gives
    the matrices A and B of x <- A x + B xi, and the covariance C solves the discrete Lyapunov
    equation C = A C A^T + B B^T: no Monte Carlo, no formula of the paper.

    Args:
        advance: One step from state, gradient of U and standard normal noise, of chains with
            one parameter; everything else is closed over.
        curvature: k, second derivative of U.
        gradient_variance: Variance of the noise of the gradient.

    Returns:
        The covariance, shape ``(2, 2)``; NaN where the steps never settle.
    """
    unit = torch.eye(4, dtype=torch.float64)
    position, momentum, injected, disturbance = (row[:, None] for row in unit)
    gradient = curvature * position + gradient_variance**0.5 * disturbance
    after = advance(LangevinState(position, momentum), gradient, injected)
    mapped = torch.cat([after.position, after.momentum], dim=1).T.numpy()
    step, noise = mapped[:, :2], mapped[:, 2:]
    if np.abs(np.linalg.eigvals(step)).max() > 1.0 - 1e-9:
        return np.full((2, 2), np.nan)
    covariance: NDArray[np.float64] = scipy.linalg.solve_discrete_lyapunov(step, noise @ noise.T)
    return covariance
