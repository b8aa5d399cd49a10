"""How hot the chains run, how well they agree, and how many independent draws they hold.

Thermometers take the state of a sampler. R-hat and the effective sample size take draws of
any quantity, with shape ``(n_chains, n_draws, ...)``, and keep the trailing axes.

A component that never varies says nothing about convergence: its R-hat and effective sample
size are NaN, and ``median`` leaves it out. A draw that is not finite makes its component NaN
and the median over components NaN as well, so a gate ``value <= threshold`` stays shut.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Diagnostic = Callable[[Tensor], Tensor]
"""From draws ``(n_chains, n_draws, ...)`` to a value per component."""


def kinetic_temperature(momentum: Tensor, step_size: Tensor, friction: float) -> Tensor:
    """Temperature of the momentum of ``sghmc``: mean of u^2 (2 - a) / (2 eta).

    It is T (1 + mean excess heat), up to the discretisation bias 1 / (1 - h / (2 (2 - a))).

    Args:
        momentum: u, shape ``(n_chains, n_parameters)``.
        step_size: eta, same shape.
        friction: a.

    Returns:
        The temperature of each chain, shape ``(n_chains,)``.
    """
    return (momentum.square() * ((2.0 - friction) / 2.0) / step_size).mean(dim=-1)


def configurational_temperature(position: Tensor, gradient: Tensor, n_data: int) -> Tensor:
    """Temperature of the position: mean of q N g, by the virial theorem.

    Args:
        position: q, shape ``(n_chains, n_parameters)``.
        gradient: g at ``position``, same shape.
        n_data: N.

    Returns:
        The temperature of each chain, shape ``(n_chains,)``; a single value is noisy, its
        average over steps is what is meant.
    """
    return (position * gradient).mean(dim=-1) * n_data


def excess_heat(
    step_size: Tensor, gradient_variance: Tensor, *, n_data: int, friction: float
) -> Tensor:
    """Excess relative temperature that independent minibatches bring to each parameter.

    Minibatches cut from one permutation per epoch cancel over the epoch, so parameters that
    relax over several epochs stay cooler than this; the momentum does not.

    Args:
        step_size: eta, shape ``(n_chains, n_parameters)``.
        gradient_variance: Var(g) over minibatches, same shape.
        n_data: N.
        friction: a.

    Returns:
        epsilon_i = eta N^2 Var(g) / (2 a), same shape.
    """
    return step_size * float(n_data) ** 2 * gradient_variance / (2.0 * friction)


def relaxation_steps(*, epsilon: float, n_data: int, batch_size: int) -> float:
    """Steps a parameter needs to forget its position: about 1 / (2 epsilon) epochs.

    A well-specified likelihood has Var(g) = k / (N B), with the curvature k of U; with
    ``InverseGradientVariance`` the position then relaxes at the rate eta k / a = 2 epsilon B / N.

    Args:
        epsilon: Excess relative temperature the step sizes were chosen for.
        n_data: N.
        batch_size: B.

    Returns:
        Number of steps.
    """
    return n_data / batch_size / (2.0 * epsilon)


def between_chain_rhat(draws: Tensor) -> Tensor:
    """R-hat of Gelman and Rubin (1992) over whole chains.

    Args:
        draws: Shape ``(n_chains, n_draws, ...)``, at least two of each.

    Returns:
        R-hat, shape ``(...)``; it tends to 1 as the chains agree.

    Raises:
        ValueError: If there are fewer than two chains or two draws.
    """
    _require(draws, n_chains=2, n_draws=2)
    n_draws = draws.shape[1]
    within = draws.var(dim=1, correction=1).mean(dim=0)
    between = draws.mean(dim=1).var(dim=0, correction=1)
    return torch.sqrt(between / within + (n_draws - 1) / n_draws)


def split_rhat(draws: Tensor) -> Tensor:
    """R-hat over the halves of all chains: sees drift within and difference between chains.

    Args:
        draws: Shape ``(n_chains, n_draws, ...)``, at least four draws; the last one is left
            out if their number is odd.

    Returns:
        R-hat, shape ``(...)``.

    Raises:
        ValueError: If there are fewer than four draws.
    """
    _require(draws, n_chains=1, n_draws=4)
    half = draws.shape[1] // 2
    return between_chain_rhat(torch.cat([draws[:, :half], draws[:, half : 2 * half]]))


def within_chain_rhat(draws: Tensor) -> Tensor:
    """R-hat over the two halves of each chain alone: sees drift within a chain.

    Args:
        draws: Shape ``(n_chains, n_draws, ...)``, at least four draws.

    Returns:
        R-hat, shape ``(n_chains, ...)``.

    Raises:
        ValueError: If there are fewer than four draws.
    """
    _require(draws, n_chains=1, n_draws=4)
    return torch.stack([split_rhat(chain[None]) for chain in draws])


def rank_normalize(draws: Tensor) -> Tensor:
    """Replace draws by the normal scores of their ranks among all draws of all chains.

    R-hat of the result also works for heavy tails (Vehtari et al., Bayesian Analysis 16,
    2021). Equal draws get ranks in the order they came.

    Args:
        draws: Shape ``(n_chains, n_draws, ...)``.

    Returns:
        Normal scores, same shape, NaN in every component that has a non-finite draw.
    """
    pooled = draws.reshape(-1, *draws.shape[2:])
    ranks = pooled.argsort(dim=0).argsort(dim=0).to(draws.dtype) + 1.0
    scores = torch.special.ndtri((ranks - 0.375) / (pooled.shape[0] + 0.25))
    defined = torch.where(torch.isfinite(pooled).all(dim=0), scores, math.nan)
    return defined.reshape(draws.shape)


def effective_sample_size(draws: Tensor) -> Tensor:
    """Number of independent draws that would estimate the mean as well.

    Autocorrelations are combined over chains and summed over Geyer's initial monotone
    sequence (Geyer, Statistical Science 7, 1992; Vehtari et al. 2021, equations 10 to 13).

    Args:
        draws: Shape ``(n_chains, n_draws, ...)``, at least four draws.

    Returns:
        The effective sample size of all chains together, shape ``(...)``, at most
        n log10(n) for n draws in all.

    Raises:
        ValueError: If there are fewer than four draws.
    """
    _require(draws, n_chains=1, n_draws=4)
    n_chains, n_draws = draws.shape[:2]
    total = n_chains * n_draws
    pairs = _paired_autocorrelations(draws)
    positive = torch.cumprod((pairs > 0).to(pairs.dtype), dim=0)
    monotone = torch.cummin(pairs, dim=0).values * positive
    time = torch.clamp(2.0 * monotone.sum(dim=0) - 1.0, min=1.0 / math.log10(total))
    varies = draws.var(dim=1).mean(dim=0) > 0
    size: Tensor = torch.where(varies, total / time, math.nan)
    return size


def median(diagnostic: Diagnostic, draws: Tensor) -> float:
    """Median of a diagnostic over all components of a quantity, e.g. forces on probes.

    Args:
        diagnostic: One of this module's functions of draws.
        draws: Shape ``(n_chains, n_draws, ...)``.

    Returns:
        The median over components that vary; NaN if none does or if any draw is not finite.
    """
    if not bool(torch.isfinite(draws).all()):
        return math.nan
    return float(diagnostic(draws).nanmedian())


def _paired_autocorrelations(draws: Tensor) -> Tensor:
    """Sums of autocorrelations at lags 2t and 2t + 1, shape ``(n_draws // 2, ...)``."""
    n_chains, n_draws = draws.shape[:2]
    means = draws.mean(dim=1, keepdim=True)
    spectrum = torch.fft.rfft(draws - means, n=2 * n_draws, dim=1)
    power = (spectrum * spectrum.conj()).real
    covariance = torch.fft.irfft(power, n=2 * n_draws, dim=1)[:, :n_draws].mean(dim=0) / n_draws
    within = covariance[0] * n_draws / (n_draws - 1)
    spread = means[:, 0].var(dim=0, correction=1) if n_chains > 1 else torch.zeros_like(within)
    correlation = 1.0 - (within - covariance) / (covariance[0] + spread)
    correlation[0] = 1.0
    n_pairs = n_draws // 2
    pairs: Tensor = correlation[0 : 2 * n_pairs : 2] + correlation[1 : 2 * n_pairs : 2]
    return pairs


def _require(draws: Tensor, *, n_chains: int, n_draws: int) -> None:
    """Refuse draws too few to say anything."""
    if draws.ndim < 2 or draws.shape[0] < n_chains or draws.shape[1] < n_draws:
        raise ValueError(
            f"draws must have shape (n_chains >= {n_chains}, n_draws >= {n_draws}, ...), "
            f"got {tuple(draws.shape)}"
        )
