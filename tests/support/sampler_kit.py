"""The modules a check is run on, and what a check answers."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from posterion.posterior import (
    baoa,
    density,
    diagnostics,
    minibatches,
    preconditioner,
    schedules,
    sghmc,
    step_size,
    thermometer,
)
from tests.support.sampling import FRICTION

STANDARD_ERRORS = 5.0  # a right sampler exceeds this once in two million checks


def sghmc_variance_ratio(h: Tensor) -> Tensor:
    """Var k of SGHMC on a Gaussian, exact in h = eta k."""
    return 1.0 / (1.0 - h / (2.0 * (2.0 - FRICTION)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """The modules under test; a mutant takes the place of one of them.

    Attributes:
        sampler: ``sghmc`` or ``baoa``.
        variance_ratio: Exact Var k of that sampler as a function of h.
        position_heat: Excess of the position over the excess heat asked for.
        momentum_heat: Likewise of the momentum.
        density: Assembly of the potential.
        diagnostics: Thermometers.
        minibatches: Which data each step sees.
        preconditioner: Step sizes.
        schedules: Temperature and step size while sampling.
        step_size: Freezing of step sizes.
        thermometer: Configurational temperature.
    """

    sampler: ModuleType = sghmc
    variance_ratio: Callable[[Tensor], Tensor] = field(default=sghmc_variance_ratio)
    position_heat: float = 1.0
    momentum_heat: float = 1.0
    density: ModuleType = density
    diagnostics: ModuleType = diagnostics
    minibatches: ModuleType = minibatches
    preconditioner: ModuleType = preconditioner
    schedules: ModuleType = schedules
    step_size: ModuleType = step_size
    thermometer: ModuleType = thermometer


SGHMC = Kit()
# A kick of B displaces the position by (1 - a / 2) of what a kick of SGHMC does in the long
# run, while O injects 2 a (1 - a / 2) instead of 2 a; the momentum keeps (1 - a)^2 of it.
BAOA = Kit(
    sampler=baoa,
    variance_ratio=torch.ones_like,
    position_heat=1.0 - FRICTION / 2.0,
    momentum_heat=(1.0 - FRICTION) ** 2 / (1.0 - FRICTION / 2.0),
)


class Measurement(NamedTuple):
    """What a check found.

    Attributes:
        value: The statistic, worst over the parameters; NaN if the chains diverged.
        deviation: Its distance from the truth.
        bound: Largest distance a right sampler shows.
    """

    value: float
    deviation: float
    bound: float

    @property
    def passed(self) -> bool:
        """Whether the sampler looks right; NaN does not."""
        return self.deviation <= self.bound


def worst(value: Tensor, truth: Tensor, bound: float) -> Measurement:
    """Measure the component farthest from the truth; NaN is farthest of all."""
    deviation = (value - truth).abs().nan_to_num(nan=math.inf, posinf=math.inf)
    index = int(deviation.argmax())
    worst = float(deviation[index])
    return Measurement(float(value[index]), worst, bound)
