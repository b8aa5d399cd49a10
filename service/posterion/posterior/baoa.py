"""How the BAOA splitting of Langevin dynamics advances a chain by one step.

One gradient g of U / N per step, as in ``sghmc``:

    B: u <- u - eta N g
    A: q <- q + u / 2
    O: u <- (1 - a) u + xi,    xi ~ N(0, (1 - (1 - a)^2) eta T)
    A: q <- q + u / 2

The positions are those of BAOAB (Leimkuhler and Matthews, "Rational construction of
stochastic numerical methods for molecular sampling", AMRX 2013): on a Gaussian of curvature
k their variance is T / k for every stable step, eta k < 4, and the momentum after the step
has variance eta T exactly. Minibatch noise that heats the positions of ``sghmc`` by epsilon
heats those of BAOA by (1 - a / 2) epsilon.
"""

import torch
from torch import Tensor

from posterion.posterior.types import LangevinState

BAOAState = LangevinState


def init(position: Tensor) -> BAOAState:
    """Start chains at rest.

    Args:
        position: Parameters, shape ``(n_chains, n_parameters)``.

    Returns:
        A state with a copy of the position and zero momentum.
    """
    return BAOAState(position=position.detach().clone(), momentum=torch.zeros_like(position))


def noise_std(
    step_size: Tensor,
    *,
    n_data: int,
    friction: float,
    temperature: float | Tensor,
    noise_correction: Tensor | None = None,
) -> Tensor:
    """Standard deviation of the noise to inject in O.

    A kick of B displaces a free particle by (2 - a) / (2 a) of itself in the long run, a kick
    of O by 1 / a, so the correction takes out (1 - a / 2)^2 of the minibatch noise. That is
    right for positions that relax slowly against the momentum, up to terms of order eta k.

    Args:
        step_size: eta, shape ``(n_chains, n_parameters)``.
        n_data: N.
        friction: a.
        temperature: T, the variance scale.
        noise_correction: Var(g), shape of ``step_size``, or None.

    Returns:
        The standard deviation of xi, shape of ``step_size``.
    """
    variance = ((1.0 - (1.0 - friction) ** 2) * temperature) * step_size
    if noise_correction is not None:
        minibatch_variance = (step_size * n_data).square() * noise_correction
        share = (1.0 - 0.5 * friction) ** 2
        variance = (variance - share * minibatch_variance).clamp(min=0.0)
    return variance.sqrt()


def advance(
    state: BAOAState,
    gradient: Tensor,
    step_size: Tensor,
    noise: Tensor,
    *,
    n_data: int,
    friction: float,
    temperature: float | Tensor,
    noise_correction: Tensor | None = None,
) -> BAOAState:
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
    kicked = state.momentum - step_size * n_data * gradient
    midpoint = state.position + 0.5 * kicked
    momentum = (1.0 - friction) * kicked + std * noise
    return BAOAState(position=midpoint + 0.5 * momentum, momentum=momentum)


def update(
    state: BAOAState,
    gradient: Tensor,
    step_size: Tensor,
    *,
    n_data: int,
    friction: float,
    temperature: float | Tensor,
    generator: torch.Generator,
    noise_correction: Tensor | None = None,
) -> BAOAState:
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
    """Variance of the momentum after a step at T = 1, exact on a Gaussian.

    Args:
        step_size: eta, shape ``(n_chains, n_parameters)``.
        friction: a; the variance does not depend on it.

    Returns:
        A tensor equal to ``step_size``.
    """
    del friction
    return step_size
