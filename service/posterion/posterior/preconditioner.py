"""How large a step each parameter may take, judged from minibatch gradients.

A preconditioner watches gradients during burn-in and proposes the squared step size eta of
each parameter; ``step_size.freeze`` then makes it final.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

State = TypeVar("State")


class Preconditioner(Protocol[State]):
    """Estimates eta from minibatch gradients; states are frozen values."""

    @property
    def adapts_while_moving(self) -> bool:
        """Whether every burn-in gradient counts, or those of windows at rest alone."""
        ...

    def init(self, shape: tuple[int, int], dtype: torch.dtype, device: torch.device) -> State:
        """Know nothing yet about parameters of shape ``(n_chains, n_parameters)``."""
        ...

    def update(self, state: State, gradient: Tensor) -> State:
        """Take one minibatch gradient of U / N, shape ``(n_chains, n_parameters)``."""
        ...

    def step_size(
        self,
        state: State,
        *,
        friction: float,
        epsilon: float,
        n_data: int,
        prior_precision: Tensor | float,
    ) -> Tensor:
        """Propose eta, shape ``(n_chains, n_parameters)``."""
        ...


class GradientVarianceState(NamedTuple):
    """Running moments of the gradients seen (Welford, Technometrics 4, 1962).

    Attributes:
        n_seen: Number of gradients, int64 scalar.
        mean: Their mean, shape ``(n_chains, n_parameters)``.
        sum_of_squares: Sum of squared deviations from the mean, same shape.
    """

    n_seen: Tensor
    mean: Tensor
    sum_of_squares: Tensor

    @property
    def variance(self) -> Tensor:
        """Unbiased variance of a minibatch gradient; NaN below two gradients."""
        return self.sum_of_squares / (self.n_seen - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class InverseGradientVariance:
    """Step size that lets minibatch noise overheat every parameter equally.

        eta_i = 2 a epsilon / (N^2 Var(g_i)), at most prior_cap * a / prior precision

    Minibatch noise raises the temperature of parameter i by eta_i N^2 Var(g_i) / (2 a),
    which this choice makes epsilon everywhere. The cap holds where the data say nothing.

    Attributes:
        prior_cap: Largest eta_i times the prior's curvature, in units of the friction.
    """

    kind: ClassVar[Literal["inverse-gradient-variance"]] = "inverse-gradient-variance"
    adapts_while_moving: ClassVar[bool] = False

    prior_cap: float = 0.02

    def init(
        self, shape: tuple[int, int], dtype: torch.dtype, device: torch.device
    ) -> GradientVarianceState:
        """Start with no gradient seen."""
        return GradientVarianceState(
            n_seen=torch.zeros((), dtype=torch.int64, device=device),
            mean=torch.zeros(shape, dtype=dtype, device=device),
            sum_of_squares=torch.zeros(shape, dtype=dtype, device=device),
        )

    def update(self, state: GradientVarianceState, gradient: Tensor) -> GradientVarianceState:
        """Add one gradient to the moments."""
        n_seen = state.n_seen + 1
        deviation = gradient - state.mean
        mean = state.mean + deviation / n_seen
        return GradientVarianceState(
            n_seen=n_seen,
            mean=mean,
            sum_of_squares=state.sum_of_squares + deviation * (gradient - mean),
        )

    def step_size(
        self,
        state: GradientVarianceState,
        *,
        friction: float,
        epsilon: float,
        n_data: int,
        prior_precision: Tensor | float,
    ) -> Tensor:
        """Squared step sizes at excess temperature ``epsilon``.

        Args:
            state: Moments of at least two gradients.
            friction: a.
            epsilon: Excess relative temperature to allow.
            n_data: N.
            prior_precision: Curvature of the prior, a number or shape ``(n_parameters,)``.

        Returns:
            eta, shape ``(n_chains, n_parameters)``.

        Raises:
            ValueError: If fewer than two gradients were seen.
        """
        if int(state.n_seen) < 2:
            raise ValueError(f"a variance needs at least two gradients, got {int(state.n_seen)}")
        variance = state.variance
        uniform_heat = 2.0 * friction * epsilon / (float(n_data) ** 2 * variance)
        cap = self.prior_cap * friction / torch.as_tensor(prior_precision).to(variance)
        return torch.minimum(uniform_heat, cap)


class AmsgradState(NamedTuple):
    """Running second moment of the gradients seen, and its maximum.

    Attributes:
        n_seen: Number of gradients, int64 scalar.
        second_moment: Exponential average v of g^2, shape ``(n_chains, n_parameters)``.
        maximum: Largest v so far, same shape.
    """

    n_seen: Tensor
    second_moment: Tensor
    maximum: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Amsgrad:
    """Step size from the largest gradient scale seen.

        v <- b v + (1 - b) g^2,  m <- max(m, v)
        eta = a * learning_rate / N / (sqrt(m / (1 - b^t)) + offset)

    The preconditioner of Rensmeyer et al. (stochastic NequIP, 2024; AMSGrad of Reddi, Kale
    and Kumar, ICLR 2018). It heats parameters unevenly; ``diagnostics.excess_heat`` tells how
    much. The bias correction 1 - b^t stops with the gradients, so it is frozen too.

    Attributes:
        learning_rate: Step of an optimiser preconditioned alike.
        decay: b.
        offset: Added to the gradient scale.
    """

    kind: ClassVar[Literal["amsgrad"]] = "amsgrad"
    adapts_while_moving: ClassVar[bool] = True

    learning_rate: float = 1e-3
    decay: float = 0.999
    offset: float = 1e-5

    def init(
        self, shape: tuple[int, int], dtype: torch.dtype, device: torch.device
    ) -> AmsgradState:
        """Start with no gradient seen."""
        return AmsgradState(
            n_seen=torch.zeros((), dtype=torch.int64, device=device),
            second_moment=torch.zeros(shape, dtype=dtype, device=device),
            maximum=torch.zeros(shape, dtype=dtype, device=device),
        )

    def update(self, state: AmsgradState, gradient: Tensor) -> AmsgradState:
        """Add one gradient to the second moment."""
        second_moment = self.decay * state.second_moment + (1.0 - self.decay) * gradient.square()
        return AmsgradState(
            n_seen=state.n_seen + 1,
            second_moment=second_moment,
            maximum=torch.maximum(state.maximum, second_moment),
        )

    def step_size(
        self,
        state: AmsgradState,
        *,
        friction: float,
        epsilon: float,
        n_data: int,
        prior_precision: Tensor | float,
    ) -> Tensor:
        """Squared step sizes at the learning rate.

        Args:
            state: Second moment of at least one gradient.
            friction: a.
            epsilon: Not part of this method: the learning rate sets the heat.
            n_data: N.
            prior_precision: Not part of this method: ``offset`` bounds the step.

        Returns:
            eta, shape ``(n_chains, n_parameters)``.

        Raises:
            ValueError: If no gradient was seen.
        """
        del epsilon, prior_precision
        if int(state.n_seen) < 1:
            raise ValueError("a second moment needs at least one gradient, got 0")
        correction = 1.0 - self.decay ** int(state.n_seen)
        scale = (state.maximum / correction).sqrt() + self.offset
        return friction * self.learning_rate / n_data / scale
