"""Which phase of a chain a step belongs to, and which draws are kept.

Pure bookkeeping: the loop that computes gradients and moves the chain lives with its caller.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

import torch
from torch import Tensor

from posterion.errors import ConfigurationError
from posterion.posterior.schedules import SamplingSchedule, linear_temperature
from posterion.posterior.step_size import FrozenStepSize, require_frozen


class Phase(StrEnum):
    """What a step is for."""

    PRETRAINING = "pretraining"
    ESTIMATION = "estimation"
    RAMP = "ramp"
    BURN_IN = "burn-in"
    EXPLORATION = "exploration"
    SAMPLING = "sampling"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """What is to be done at one step.

    Attributes:
        phase: What the step is for.
        index: Position of the step in its stretch of that phase, from 0.
        length: Length of the stretch.
        temperature: T of the step; 0 while pretraining and while standing still.
        step_factor: What the squared step size is multiplied by.
        moves: Whether the chain moves (an estimation stands still and only looks).
        freezes: Whether the step size set after this step is the last one.
        restarts: Whether the momentum is zeroed before the step.
        traces: Whether the probe forces are recorded after this step.
        draws: Whether the position after this step is a draw.
    """

    phase: Phase
    index: int
    length: int
    temperature: float
    step_factor: float = 1.0
    moves: bool = True
    freezes: bool = False
    restarts: bool = False
    traces: bool = False
    draws: bool = False

    @property
    def sets_step_size(self) -> bool:
        """Whether a new step size follows this step: at the end of an estimation."""
        return self.phase is Phase.ESTIMATION and self.index == self.length - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseSchedule:
    """How many steps each phase takes.

    Pretraining; an estimation of the gradient variance at rest; a temperature ramp; burn-in,
    cut into ``n_reestimations + 1`` stretches with an estimation between any two; sampling
    with the step size frozen since the last estimation. Where a sampling schedule leaves
    equilibrium, its steps are called exploration.

    Attributes:
        n_pretraining: Optimiser steps before the chain starts.
        n_estimation: Minibatches of each estimation, at least 2.
        n_ramp: Steps over which the temperature rises.
        n_burn_in: Moving steps of burn-in in all, at least one per stretch.
        n_reestimations: Estimations within burn-in.
        sampling: Temperature, step factor and draws of the steps after that.
    """

    n_pretraining: int
    n_estimation: int
    n_ramp: int
    n_burn_in: int
    n_reestimations: int
    sampling: SamplingSchedule

    def __post_init__(self) -> None:
        """Refuse counts that leave a phase without meaning."""
        least = {
            "n_pretraining": 0,
            "n_estimation": 2,
            "n_ramp": 0,
            "n_reestimations": 0,
            "n_burn_in": self.n_reestimations + 1,
        }
        for name, minimum in least.items():
            if getattr(self, name) < minimum:
                raise ConfigurationError(
                    f"{name} must be at least {minimum}, got {getattr(self, name)}"
                )

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
        stretches.append((Phase.SAMPLING, self.sampling.n_steps))
        return tuple((phase, length) for phase, length in stretches if length > 0)

    @property
    def n_steps(self) -> int:
        """Steps of the whole chain."""
        return sum(length for _, length in self.stretches)

    @property
    def n_steps_before_sampling(self) -> int:
        """Steps until the first one that may lead to a draw."""
        return self.n_steps - self.sampling.n_steps

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
        if phase is Phase.SAMPLING:
            return self._sampling(index)
        last = index == length - 1
        return StepPlan(
            phase=phase,
            index=index,
            length=length,
            temperature=self._temperature(phase, index),
            moves=phase is not Phase.ESTIMATION,
            freezes=phase is Phase.ESTIMATION and last and n_estimations > self.n_reestimations,
        )

    def stretched(self, factor: int) -> "PhaseSchedule":
        """The same phases with ``factor`` times the burn-in and the steps between draws."""
        return replace(
            self, n_burn_in=factor * self.n_burn_in, sampling=self.sampling.stretched(factor)
        )

    def _sampling(self, index: int) -> StepPlan:
        step = self.sampling.at(index)
        return StepPlan(
            phase=Phase.SAMPLING if step.settled else Phase.EXPLORATION,
            index=index,
            length=self.sampling.n_steps,
            temperature=step.temperature,
            step_factor=step.step_factor,
            restarts=step.restarts,
            traces=step.traces,
            draws=step.draws,
        )

    def _temperature(self, phase: Phase, index: int) -> float:
        if phase in {Phase.PRETRAINING, Phase.ESTIMATION}:
            return 0.0
        if phase is Phase.RAMP:
            return linear_temperature(index, n_steps=self.n_ramp, target=self.sampling.temperature)
        return self.sampling.temperature


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
