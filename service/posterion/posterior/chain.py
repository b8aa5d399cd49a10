"""Which phase of a chain a step belongs to, which data it sees, and which draws are kept.

Pure bookkeeping: the loop that computes gradients and moves the chain lives with its caller.
"""

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from posterion.errors import CheckpointMismatch, ConfigurationError
from posterion.posterior.schedules import linear_temperature
from posterion.posterior.step_size import FrozenStepSize, require_frozen


class Phase(StrEnum):
    """What a step is for."""

    PRETRAINING = "pretraining"
    ESTIMATION = "estimation"
    RAMP = "ramp"
    BURN_IN = "burn-in"
    SAMPLING = "sampling"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """What is to be done at one step.

    Attributes:
        phase: What the step is for.
        index: Position of the step in its stretch of that phase, from 0.
        length: Length of the stretch.
        temperature: T of the step; 0 while pretraining and while standing still.
        moves: Whether the chain moves (an estimation stands still and only looks).
        freezes: Whether the step size set after this step is the last one.
        draws: Whether the position after this step is a draw.
    """

    phase: Phase
    index: int
    length: int
    temperature: float
    moves: bool
    freezes: bool
    draws: bool

    @property
    def sets_step_size(self) -> bool:
        """Whether a new step size follows this step: at the end of an estimation."""
        return self.phase is Phase.ESTIMATION and self.index == self.length - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseSchedule:
    """How many steps each phase takes.

    Pretraining; an estimation of the gradient variance at rest; a temperature ramp; burn-in,
    cut into ``n_reestimations + 1`` stretches with an estimation between any two; sampling
    with the step size frozen since the last estimation.

    Attributes:
        n_pretraining: Optimiser steps before the chain starts.
        n_estimation: Minibatches of each estimation, at least 2.
        n_ramp: Steps over which the temperature rises.
        n_burn_in: Moving steps of burn-in in all, at least one per stretch.
        n_reestimations: Estimations within burn-in.
        n_draws: Draws to keep.
        thinning: Steps from one draw to the next.
        temperature: T of the posterior to sample.
    """

    n_pretraining: int
    n_estimation: int
    n_ramp: int
    n_burn_in: int
    n_reestimations: int
    n_draws: int
    thinning: int
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Refuse counts that leave a phase without meaning."""
        least = {
            "n_pretraining": 0,
            "n_estimation": 2,
            "n_ramp": 0,
            "n_reestimations": 0,
            "n_burn_in": self.n_reestimations + 1,
            "n_draws": 1,
            "thinning": 1,
        }
        for name, minimum in least.items():
            if getattr(self, name) < minimum:
                raise ConfigurationError(
                    f"{name} must be at least {minimum}, got {getattr(self, name)}"
                )
        if not self.temperature > 0:
            raise ConfigurationError(f"temperature must be positive, got {self.temperature}")

    @property
    def stretches(self) -> tuple[tuple[Phase, int], ...]:
        """The phases in order, each with its number of steps; empty ones are left out."""
        n_stretches = self.n_reestimations + 1
        burn_in = [
            (i + 1) * self.n_burn_in // n_stretches - i * self.n_burn_in // n_stretches
            for i in range(n_stretches)
        ]
        stretches = [
            (Phase.PRETRAINING, self.n_pretraining),
            (Phase.ESTIMATION, self.n_estimation),
            (Phase.RAMP, self.n_ramp),
            (Phase.BURN_IN, burn_in[0]),
        ]
        for length in burn_in[1:]:
            stretches += [(Phase.ESTIMATION, self.n_estimation), (Phase.BURN_IN, length)]
        stretches.append((Phase.SAMPLING, self.n_draws * self.thinning))
        return tuple((phase, length) for phase, length in stretches if length > 0)

    @property
    def n_steps(self) -> int:
        """Steps of the whole chain."""
        return sum(length for _, length in self.stretches)

    @property
    def n_steps_before_sampling(self) -> int:
        """Steps until the first one that may lead to a draw."""
        return self.n_steps - self.n_draws * self.thinning

    def at(self, step: int) -> StepPlan:
        """What to do at a step.

        Args:
            step: Step from 0 to ``n_steps - 1``.

        Returns:
            The plan of that step.

        Raises:
            ValueError: If the step is outside the schedule.
        """
        if not 0 <= step < self.n_steps:
            raise ValueError(f"step must be in [0, {self.n_steps}), got {step}")
        index = step
        n_estimations = 0
        for phase, length in self.stretches:
            n_estimations += phase is Phase.ESTIMATION
            if index < length:
                break
            index -= length
        last = index == length - 1
        return StepPlan(
            phase=phase,
            index=index,
            length=length,
            temperature=self._temperature(phase, index),
            moves=phase is not Phase.ESTIMATION,
            freezes=phase is Phase.ESTIMATION and last and n_estimations > self.n_reestimations,
            draws=phase is Phase.SAMPLING and (index + 1) % self.thinning == 0,
        )

    def _temperature(self, phase: Phase, index: int) -> float:
        if phase in {Phase.PRETRAINING, Phase.ESTIMATION}:
            return 0.0
        if phase is Phase.RAMP:
            return linear_temperature(index, n_steps=self.n_ramp, target=self.temperature)
        return self.temperature


class MinibatchOrder:
    """Which data each step sees: one random permutation per epoch, cut into minibatches.

    What is left at the end of an epoch and too short for a minibatch is not used; every
    minibatch is a uniformly drawn subset all the same. The noise of an epoch's minibatches
    cancels in their sum, so parameters that relax over epochs are heated far less than by
    minibatches drawn independently, and ``noise_correction`` must not be used with it.

    Args:
        n_data: Size of the data set.
        batch_size: Data per minibatch, from 1 to ``n_data``.
        generator: CPU generator, advanced once per epoch and owned by this object.
    """

    def __init__(self, *, n_data: int, batch_size: int, generator: torch.Generator) -> None:
        if not 1 <= batch_size <= n_data:
            raise ConfigurationError(
                f"batch_size must be from 1 to the number of data {n_data}, got {batch_size}"
            )
        self.n_data = n_data
        self.batch_size = batch_size
        self._generator = generator
        self._remaining = torch.empty(0, dtype=torch.int64)

    def next_batch(self) -> Tensor:
        """Indices of the next minibatch, int64, shape ``(batch_size,)``."""
        if len(self._remaining) < self.batch_size:
            self._remaining = torch.randperm(self.n_data, generator=self._generator)
        batch = self._remaining[: self.batch_size]
        self._remaining = self._remaining[self.batch_size :]
        return batch

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors from which the same sequence continues."""
        return {
            "n_data": torch.tensor(self.n_data),
            "batch_size": torch.tensor(self.batch_size),
            "generator": self._generator.get_state(),
            "remaining": self._remaining.clone(),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue where ``state_dict`` was taken.

        Raises:
            CheckpointMismatch: If it was taken with another data set or batch size.
        """
        stored = (int(state["n_data"]), int(state["batch_size"]))
        if stored != (self.n_data, self.batch_size):
            raise CheckpointMismatch(
                f"the order of minibatches was stored for (n_data, batch_size) = {stored}, "
                f"this chain has {(self.n_data, self.batch_size)}"
            )
        self._generator.set_state(state["generator"])
        self._remaining = state["remaining"].clone()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draws:
    """Positions kept from chains whose step size is frozen.

    Attributes:
        positions: One tensor ``(n_chains, n_parameters)`` per draw, in order.
        step_size_digest: Digest of the step size all of them were drawn with, or "".
    """

    positions: tuple[Tensor, ...] = ()
    step_size_digest: str = ""

    def collect(self, position: Tensor, step_size: Tensor | FrozenStepSize) -> "Draws":
        """Keep a position.

        Args:
            position: Shape ``(n_chains, n_parameters)``; copied.
            step_size: What the chain moves with; checked bitwise.

        Returns:
            The draws with one more.

        Raises:
            UnfrozenPreconditioner: If the step size is not frozen, was written to, or is not
                the one earlier draws were collected with.
        """
        frozen = require_frozen(step_size, digest=self.step_size_digest)
        return Draws(
            positions=(*self.positions, position.detach().clone()),
            step_size_digest=frozen.digest,
        )

    def stacked(self) -> Tensor:
        """All draws, shape ``(n_chains, n_draws, n_parameters)``.

        Raises:
            ValueError: If there is no draw.
        """
        if not self.positions:
            raise ValueError("no draw was collected")
        return torch.stack(self.positions, dim=1)
