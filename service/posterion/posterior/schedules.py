"""How learning rate, temperature and step size change with the step: functions of the step.

A schedule of sampling multiplies the frozen step size by a factor that depends on the number
of the step alone, never on the position or on a gradient, so it does not bias what a slowly
changing factor samples the way an adapting step size would.
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, Self

from posterion.errors import ConfigurationError

TRACES_PER_DRAW = 8
"""Records of the probe forces from one draw to the next."""


def cosine_learning_rate(step: int, *, n_steps: int, peak: float, floor: float = 0.0) -> float:
    """Learning rate that falls from its peak to its floor along half a cosine.

    Args:
        step: Step to come, from 0; beyond ``n_steps`` the floor holds.
        n_steps: Steps until the floor is reached.
        peak: Learning rate at step 0.
        floor: Learning rate at the end.

    Returns:
        The learning rate of that step.
    """
    progress = min(step / n_steps, 1.0) if n_steps > 0 else 1.0
    return floor + 0.5 * (peak - floor) * (1.0 + math.cos(math.pi * progress))


def linear_temperature(
    step: int, *, n_steps: int, target: float = 1.0, start: float = 0.0
) -> float:
    """Temperature that changes linearly to its target and stays there.

    Args:
        step: Step to come, from 0; the first one has already made 1 / n_steps of the way.
        n_steps: Steps until the target is reached; 0 begins at the target.
        target: Temperature of the posterior to sample.
        start: Temperature before the first step.

    Returns:
        The temperature of that step.
    """
    progress = min((step + 1) / n_steps, 1.0) if n_steps > 0 else 1.0
    return start + (target - start) * progress


class SamplingStep(NamedTuple):
    """What a schedule asks of one step after the step size is frozen.

    Attributes:
        temperature: T of the step.
        step_factor: What the frozen squared step size is multiplied by.
        settled: Whether the chain is meant to be at equilibrium, so that thermometers count.
        restarts: Whether the momentum is zeroed before the step.
        traces: Whether the probe forces are recorded after the step.
        draws: Whether the position after the step is a draw.
    """

    temperature: float
    step_factor: float
    settled: bool
    restarts: bool
    traces: bool
    draws: bool


class SamplingSchedule(Protocol):
    """Temperature, step size and draws of the steps after the step size is frozen."""

    @property
    def temperature(self) -> float:
        """T of the posterior that is sampled."""
        ...

    @property
    def n_draws(self) -> int:
        """Draws in all."""
        ...

    @property
    def n_steps(self) -> int:
        """Steps in all."""
        ...

    def at(self, index: int) -> SamplingStep:
        """What to do at a step, from 0."""
        ...

    def stretched(self, factor: int) -> Self:
        """The same draws with so many times the steps, for steps that much smaller."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantSchedule:
    """One temperature, one step size, and draws at equal distances.

    Attributes:
        n_draws: Draws to keep.
        thinning: Steps from one draw to the next.
        temperature: T.
    """

    n_draws: int
    thinning: int
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Refuse counts without meaning."""
        _require(self, n_draws=1, thinning=1)
        _require_positive(self.temperature)

    @property
    def n_steps(self) -> int:
        """Steps in all."""
        return self.n_draws * self.thinning

    def at(self, index: int) -> SamplingStep:
        """See ``SamplingSchedule``."""
        return SamplingStep(
            temperature=self.temperature,
            step_factor=1.0,
            settled=True,
            restarts=False,
            traces=_due(index, _spacing(self.thinning)),
            draws=_due(index, self.thinning),
        )

    def stretched(self, factor: int) -> Self:
        """See ``SamplingSchedule``."""
        return replace(self, thinning=factor * self.thinning)


@dataclass(frozen=True, slots=True, kw_only=True)
class CyclicalSchedule:
    """Cycles of exploration with large steps and sampling with small ones.

    After Zhang et al., "Cyclical stochastic gradient MCMC for Bayesian deep learning", ICLR
    2020 (arXiv 1902.03932). The factor on the squared step size falls from 1 to ``floor``
    along half a cosine in every cycle; the momentum starts at zero. A cycle explores at its
    own temperature (zero, as in the paper, or above T, to cross barriers), goes linearly to
    T, settles there, and then gives its draws.

    Attributes:
        n_draws: Draws to keep, a multiple of ``draws_per_cycle``.
        draws_per_cycle: Draws at the end of each cycle.
        thinning: Steps from one draw of a cycle to the next, and before the first.
        n_exploration: Steps at the exploration temperature.
        n_ramp: Steps from there to T.
        n_settling: Steps at T before those that count.
        exploration_temperature: Temperature of exploration.
        floor: Smallest factor, in (0, 1].
        temperature: T.
    """

    n_draws: int
    draws_per_cycle: int
    thinning: int
    n_exploration: int
    n_ramp: int
    n_settling: int
    exploration_temperature: float
    floor: float
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Refuse counts without meaning."""
        _require(self, n_draws=1, draws_per_cycle=1, thinning=1)
        _require(self, n_exploration=0, n_ramp=0, n_settling=0)
        _require_positive(self.temperature)
        if self.n_draws % self.draws_per_cycle:
            raise ConfigurationError(
                f"n_draws must be a multiple of draws_per_cycle, got {self.n_draws} "
                f"and {self.draws_per_cycle}"
            )
        if not 0.0 < self.floor <= 1.0:
            raise ConfigurationError(f"floor must be in (0, 1], got {self.floor}")

    @property
    def n_cycle(self) -> int:
        """Steps of one cycle."""
        return self._n_unsettled + self.draws_per_cycle * self.thinning

    @property
    def n_steps(self) -> int:
        """Steps in all."""
        return self.n_draws // self.draws_per_cycle * self.n_cycle

    def at(self, index: int) -> SamplingStep:
        """See ``SamplingSchedule``."""
        step = index % self.n_cycle
        since = step - self._n_unsettled
        settled = since >= 0
        return SamplingStep(
            temperature=self._temperature(step),
            step_factor=cosine_learning_rate(
                step, n_steps=self.n_cycle, peak=1.0, floor=self.floor
            ),
            settled=settled,
            restarts=step == 0,
            traces=settled and _due(since, _spacing(self.thinning)),
            draws=settled and _due(since, self.thinning),
        )

    def stretched(self, factor: int) -> Self:
        """See ``SamplingSchedule``."""
        return replace(
            self,
            thinning=factor * self.thinning,
            n_exploration=factor * self.n_exploration,
            n_ramp=factor * self.n_ramp,
            n_settling=factor * self.n_settling,
        )

    @property
    def _n_unsettled(self) -> int:
        return self.n_exploration + self.n_ramp + self.n_settling

    def _temperature(self, step: int) -> float:
        if step < self.n_exploration:
            return self.exploration_temperature
        return linear_temperature(
            step - self.n_exploration,
            n_steps=self.n_ramp,
            target=self.temperature,
            start=self.exploration_temperature,
        )


def _due(index: int, every: int) -> bool:
    return (index + 1) % every == 0


def _spacing(thinning: int) -> int:
    """Steps from one record of the probe forces to the next."""
    return max(1, thinning // TRACES_PER_DRAW)


def _require(schedule: object, **least: int) -> None:
    for name, minimum in least.items():
        if getattr(schedule, name) < minimum:
            raise ConfigurationError(
                f"{name} must be at least {minimum}, got {getattr(schedule, name)}"
            )


def _require_positive(temperature: float) -> None:
    if not temperature > 0:
        raise ConfigurationError(f"temperature must be positive, got {temperature}")
