"""How stochastic gradient Hamiltonian Monte Carlo advances a chain by one step.

With the gradient g of U / N on a minibatch, friction a and squared step size eta,

    u <- (1 - a) u - eta N g + xi,    xi ~ N(0, 2 a eta T - [eta^2 N^2 Var(g)])
    q <- q + u

which is equation 15 of Chen, Fox and Guestrin, "Stochastic gradient Hamiltonian Monte
Carlo", ICML 2014 (arXiv 1402.4102). The bracket is the optional correction for minibatch
noise. On a Gaussian of curvature k, with h = eta k and the exact gradient, the variance of
q is T / k / (1 - h / (2 (2 - a))) and the steps are stable for h < 2 (2 - a).

Nothing here synchronises with the host, so a step can be compiled or captured in a graph;
``advance`` takes its noise as an argument.
"""

import torch
from torch import Tensor

from posterion.posterior.types import LangevinState

SGHMCState = LangevinState


def init(position: Tensor) -> SGHMCState:
    """Start chains at rest.

    Args:
        position: Parameters, shape ``(n_chains, n_parameters)``.

    Returns:
        A state with a copy of the position and zero momentum.
    """
    return SGHMCState(position=position.detach().clone(), momentum=torch.zeros_like(position))


def noise_std(
    step_size: Tensor,
    *,
    n_data: int,
    friction: float,
    temperature: float | Tensor,
    noise_correction: Tensor | None = None,
) -> Tensor:
    """Standard deviation of the noise to inject, from the balance of heat and friction.

    Where the minibatch noise alone is more than the balance allows, nothing is injected:
    that parameter stays too warm, and the thermometers of ``diagnostics`` show it.

    Args:
        step_size: eta, shape ``(n_chains, n_parameters)``.
        n_data: N.
        friction: a.
        temperature: T, the variance scale.
        noise_correction: Var(g), shape of ``step_size``, or None.

    Returns:
        The standard deviation of xi, shape of ``step_size``.
    """
    variance = (2.0 * friction * temperature) * step_size
    if noise_correction is not None:
        minibatch_variance = (step_size * n_data).square() * noise_correction
        variance = (variance - minibatch_variance).clamp(min=0.0)
    return variance.sqrt()


def advance(
    state: SGHMCState,
    gradient: Tensor,
    step_size: Tensor,
    noise: Tensor,
    *,
    n_data: int,
    friction: float,
    temperature: float | Tensor,
    noise_correction: Tensor | None = None,
) -> SGHMCState:
    """Advance with noise drawn by the caller: a pure function of tensors.

    Args:
        state: The chains before the step.
        gradient: g, shape ``(n_chains, n_parameters)``.
        step_size: eta, same shape.
        noise: Standard normal numbers, same shape.
        n_data: N.
        friction: a, in (0, 1).
        temperature: T, the variance scale.
        noise_correction: Var(g), same shape, or None.

    Returns:
        The chains after the step.
    """
    std = noise_std(
        step_size,
        n_data=n_data,
        friction=friction,
        temperature=temperature,
        noise_correction=noise_correction,
    )
    drift = step_size * n_data * gradient
    momentum = state.momentum * (1.0 - friction) - drift + std * noise
    return SGHMCState(position=state.position + momentum, momentum=momentum)


def update(
    state: SGHMCState,
    gradient: Tensor,
    step_size: Tensor,
    *,
    n_data: int,
    friction: float,
    temperature: float | Tensor,
    generator: torch.Generator,
    noise_correction: Tensor | None = None,
) -> SGHMCState:
    """Advance every chain by one step; see ``types.SamplerUpdate`` for the arguments."""
    return advance(
        state,
        gradient,
        step_size,
        torch.randn(
            gradient.shape, generator=generator, dtype=gradient.dtype, device=gradient.device
        ),
        n_data=n_data,
        friction=friction,
        temperature=temperature,
        noise_correction=noise_correction,
    )


def momentum_variance(step_size: Tensor, *, friction: float) -> Tensor:
    """Variance of the momentum at T = 1, to leading order in the step size.

    Args:
        step_size: eta, shape ``(n_chains, n_parameters)``.
        friction: a.

    Returns:
        2 eta / (2 - a), shape of ``step_size``.
    """
    return 2.0 * step_size / (2.0 - friction)
