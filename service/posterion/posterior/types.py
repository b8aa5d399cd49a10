"""What samplers, preconditioners and their drivers agree on.

Every array of a chain has shape ``(n_chains, n_parameters)``: several chains advance
together as one vectorised pass, or one chain alone with ``n_chains = 1``.

Symbols, used in formulas only: ``q`` position (the parameters), ``u`` displacement
momentum (what is added to ``q`` in one step), ``eta`` squared step size of each parameter,
``a`` friction, ``T`` temperature, ``N`` number of data, ``U`` potential (minus the log
posterior), ``g`` minibatch gradient of ``U / N``.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from posterion.errors import OperationError


class UnfrozenPreconditioner(OperationError):
    """A draw was about to be collected while the step size could still adapt."""

    code = "unfrozen-preconditioner"
    title = "Unfrozen preconditioner"


class LangevinState(NamedTuple):
    """Where the chains are and how they move.

    Attributes:
        position: Parameters q, shape ``(n_chains, n_parameters)``.
        momentum: Displacement momentum u, same shape and unit as ``position``.
    """

    position: Tensor
    momentum: Tensor

    def rescaled(self, ratio: Tensor | float) -> "LangevinState":
        """Keep each parameter at its temperature when its squared step size changes.

        Args:
            ratio: New over old squared step size, a number or shape of ``momentum``.

        Returns:
            The same positions with the momentum scaled by sqrt(ratio).
        """
        return LangevinState(self.position, self.momentum * ratio**0.5)

    def at_rest(self) -> "LangevinState":
        """The same positions without momentum."""
        return LangevinState(self.position, torch.zeros_like(self.momentum))


class MinibatchGradient(Protocol):
    """Gradient of the potential per datum, estimated on one minibatch."""

    def __call__(self, position: Tensor, index: Tensor) -> Tensor:
        """Differentiate U / N on a minibatch.

        Args:
            position: Parameters, shape ``(n_chains, n_parameters)``.
            index: Which data form the minibatch, shape ``(batch_size,)``.

        Returns:
            The gradient, shape of ``position``.
        """
        ...


class SamplerUpdate(Protocol):
    """One step of a sampler; each sampler module has a function ``update`` like this."""

    def __call__(
        self,
        state: LangevinState,
        gradient: Tensor,
        step_size: Tensor,
        *,
        n_data: int,
        friction: float,
        temperature: float | Tensor,
        generator: torch.Generator,
        noise_correction: Tensor | None = None,
    ) -> LangevinState:
        """Advance every chain by one step.

        Args:
            state: The chains before the step.
            gradient: g, minibatch gradient of U / N at ``state.position``, same shape.
            step_size: eta, shape ``(n_chains, n_parameters)``.
            n_data: N, size of the data set the potential sums over.
            friction: a, in (0, 1).
            temperature: T, variance scale of the posterior; 1 samples the posterior itself.
            generator: Source of the noise, on the device of ``state``.
            noise_correction: Var(g) over minibatches, shape of ``gradient``, when the heat it
                brings is to be taken out of the injected noise. Only for minibatches drawn
                independently: those of one permutation per epoch cancel over the epoch, and
                the correction would cool the chain below T.

        Returns:
            The chains after the step, in new tensors.
        """
        ...


class Sampler(Protocol):
    """What a module that samples offers; ``sghmc`` and ``baoa`` are such modules."""

    @property
    def init(self) -> Callable[[Tensor], LangevinState]:
        """Start chains at rest at a position ``(n_chains, n_parameters)``."""
        ...

    @property
    def update(self) -> SamplerUpdate:
        """Advance every chain by one step."""
        ...

    @property
    def momentum_variance(self) -> "MomentumVariance":
        """Variance of the momentum at T = 1."""
        ...


class MomentumVariance(Protocol):
    """What the kinetic thermometer of a sampler is calibrated with."""

    def __call__(self, step_size: Tensor, *, friction: float) -> Tensor:
        """Variance of the momentum at T = 1.

        Args:
            step_size: eta, shape ``(n_chains, n_parameters)``.
            friction: a.

        Returns:
            The variance, shape of ``step_size``.
        """
        ...
