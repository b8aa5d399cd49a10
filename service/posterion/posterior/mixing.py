"""How well the chains agree, and how many independent draws they hold.

Draws of any quantity have shape ``(n_chains, n_draws, ...)``; the trailing axes are kept. The
estimators are those of Vehtari et al., "Rank-normalization, folding, and localization: an
improved R-hat", Bayesian Analysis 16, 2021, as arviz-stats has them.

A component that never varies says nothing about convergence: its R-hat and effective sample
size are NaN, and ``median`` leaves it out. A draw that is not finite makes its component NaN
and the median over components NaN as well, so a gate ``value <= threshold`` stays shut.
"""

import math
import warnings
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from arviz_stats.base.array import array_stats
from torch import Tensor

Diagnostic = Callable[[Tensor], Tensor]
"""From draws ``(n_chains, n_draws, ...)`` to a value per component."""

FEWEST_DRAWS: Final = 8
"""Fewest draws per chain of which R-hat and effective sample size make sense: four per half."""


def between_chain_rhat(draws: Tensor) -> Tensor:
    """R-hat of Gelman and Rubin (1992) over whole chains.

    Args:
        draws: Shape ``(n_chains, n_draws, ...)``, at least two chains and eight draws.

    Returns:
        R-hat, shape ``(...)``; it tends to 1 as the chains agree.

    Raises:
        ValueError: If there are fewer.
    """
    _require(draws, n_chains=2)
    return _evaluate(array_stats.rhat, draws, method="identity")


def within_chain_rhat(draws: Tensor) -> Tensor:
    """R-hat over the two halves of each chain alone: sees drift within a chain.

    Args:
        draws: Shape ``(n_chains, n_draws, ...)``, at least eight draws.

    Returns:
        R-hat, shape ``(n_chains, ...)``.

    Raises:
        ValueError: If there are fewer than eight draws.
    """
    _require(draws, n_chains=1)
    half = draws.shape[1] // 2
    halves = torch.stack([draws[:, :half], draws[:, -half:]], dim=1)
    return torch.stack([_evaluate(array_stats.rhat, pair, method="identity") for pair in halves])


def effective_sample_size(draws: Tensor) -> Tensor:
    """Number of independent draws that would estimate the mean as well, all chains together.

    Args:
        draws: Shape ``(n_chains, n_draws, ...)``, at least eight draws.

    Returns:
        The bulk effective sample size, shape ``(...)``.

    Raises:
        ValueError: If there are fewer than eight draws.
    """
    _require(draws, n_chains=1)
    return _evaluate(array_stats.ess, draws, method="bulk")


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


def _evaluate(estimator: Callable[..., np.ndarray], draws: Tensor, *, method: str) -> Tensor:
    """Apply an estimator to every component that varies and is finite; NaN elsewhere."""
    pooled = draws.double().flatten(2) if draws.ndim > 2 else draws.double()[:, :, None]
    defined = pooled.isfinite().all(dim=(0, 1)) & (pooled.std(dim=1) > 0).any(dim=0)
    values = torch.full((pooled.shape[2],), math.nan, dtype=torch.float64)
    if bool(defined.any()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            found = estimator(
                pooled[:, :, defined].numpy(), chain_axis=0, draw_axis=1, method=method
            )
        values[defined] = torch.from_numpy(np.atleast_1d(found))
    return values.reshape(draws.shape[2:])


def _require(draws: Tensor, *, n_chains: int) -> None:
    """Refuse draws too few to say anything."""
    if draws.ndim < 2 or draws.shape[0] < n_chains or draws.shape[1] < FEWEST_DRAWS:
        raise ValueError(
            f"draws must have shape (n_chains >= {n_chains}, n_draws >= {FEWEST_DRAWS}, ...), "
            f"got {tuple(draws.shape)}"
        )
