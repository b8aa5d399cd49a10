"""How far the chains have come from where they started, in units of the temperature.

The virial theorem holds about any fixed origin c: in equilibrium the mean of
(q_i - c_i) dU/dq_i is T for every parameter i. With c the position at which the chain
started, near a mode, the reading is zero for a chain that has not moved and T for one that
has forgotten its start; for a harmonic direction of relaxation time t it is
T (1 - exp(-2 s / t)) after s steps. The kinetic temperature is right at any step size and
tells nothing of the kind.

Minibatches of one permutation spoil the reading step by step, because the noise of the next
ones is what the position has not yet felt: it would be too high by the whole excess heat. So
positions and gradients are averaged over a window in which that noise cancels, an epoch,
before they are multiplied. The motion within a window is left out: a direction of relaxation
time t reads low by a third of the window over t.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Virial(NamedTuple):
    """Running sums of a configurational thermometer; the shapes are ``(n_chains, n_parameters)``.

    Attributes:
        origin: Where the chains started.
        position: Sum of positions relative to the origin in the current window.
        gradient: Sum of gradients g of U / N in the current window.
        n_in_window: Steps of the current window, int64 scalar; 0 = none has begun.
        total: Sum over finished windows of mean position times mean gradient.
        n_windows: Finished windows, int64 scalar.
    """

    origin: Tensor
    position: Tensor
    gradient: Tensor
    n_in_window: Tensor
    total: Tensor
    n_windows: Tensor

    def observe(self, position: Tensor, gradient: Tensor, *, starts_window: bool) -> "Virial":
        """Take the position and gradient of one step.

        Args:
            position: q before the step, shape ``(n_chains, n_parameters)``.
            gradient: g there, same shape.
            starts_window: Whether this step begins a window, ending the last one.

        Returns:
            The sums with one step more; steps before the first window are not counted.
        """
        sums = self._closed() if starts_window else self
        if not starts_window and int(sums.n_in_window) == 0:
            return sums
        return sums._replace(
            position=sums.position + (position - sums.origin),
            gradient=sums.gradient + gradient,
            n_in_window=sums.n_in_window + 1,
        )

    def interrupted(self) -> "Virial":
        """Drop the window that has begun: the chain leaves equilibrium."""
        nothing = torch.zeros_like(self.position)
        return self._replace(
            position=nothing, gradient=nothing, n_in_window=torch.zeros_like(self.n_in_window)
        )

    def temperatures(self, *, n_data: int) -> Tensor:
        """Configurational temperature of each parameter, shape ``(n_chains, n_parameters)``.

        Args:
            n_data: N.

        Returns:
            The mean over the finished windows; NaN if there is none.
        """
        return self.total * float(n_data) / self.n_windows

    def _closed(self) -> "Virial":
        n_steps = int(self.n_in_window)
        if n_steps == 0:
            return self
        product = (self.position / n_steps) * (self.gradient / n_steps)
        return self._replace(total=self.total + product, n_windows=self.n_windows + 1).interrupted()


def start_virial(origin: Tensor) -> Virial:
    """Nothing seen yet of chains that start at a position ``(n_chains, n_parameters)``."""
    nothing = torch.zeros_like(origin)
    count = torch.zeros((), dtype=torch.int64, device=origin.device)
    return Virial(origin.detach().clone(), nothing, nothing, count, nothing, count)


def data_share(
    gradient_variance: Tensor, *, n_data: int, batch_size: int, prior_precision: float
) -> Tensor:
    """How far the data rather than the prior determine each parameter, from 0 to 1.

    A well-specified likelihood has the curvature k = N B Var(g), so the share of the data in
    the curvature of the posterior is k / (k + prior precision).

    Args:
        gradient_variance: Var(g) over minibatches, shape ``(n_chains, n_parameters)``.
        n_data: N.
        batch_size: B.
        prior_precision: Curvature of the prior.

    Returns:
        The share, same shape.
    """
    curvature = float(n_data * batch_size) * gradient_variance
    return curvature / (curvature + prior_precision)


def weighted_temperature(temperatures: Tensor, weights: Tensor) -> Tensor:
    """Mean temperature over the parameters, weighted.

    Args:
        temperatures: Of each parameter, shape ``(n_chains, n_parameters)``.
        weights: Not negative, same shape.

    Returns:
        The mean of each chain, shape ``(n_chains,)``; NaN where all weights are zero.
    """
    return (temperatures.double() * weights).sum(dim=1) / weights.double().sum(dim=1)
