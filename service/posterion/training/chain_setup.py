"""What a chain run is set up from: its phases, its sampler, its minibatches, its optimiser.

Also how lists of tensors and texts are kept among the named tensors of a checkpoint.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import torch
from torch import Tensor

from posterion.posterior import baoa, sghmc
from posterion.posterior.chain import Phase, PhaseSchedule, StepPlan
from posterion.posterior.minibatches import (
    IndependentMinibatches,
    MinibatchSource,
    PermutedMinibatches,
)
from posterion.posterior.schedules import ConstantSchedule, CyclicalSchedule, SamplingSchedule
from posterion.posterior.types import Sampler
from posterion.training.config import TrainingConfig
from posterion.training.sampler_config import (
    CyclicalScheduleConfig,
    InverseGradientVarianceConfig,
    MarkovChainConfig,
    SamplerConfig,
)

Probe = Callable[[Tensor], Tensor]
"""Parameters ``(n_chains, n_parameters)`` to probe forces ``(n_chains, n_components)``."""

ENERGY_START: Final = 1e-4
"""Weight of the energy likelihood at the first step of pretraining."""
ESTIMATION_MINIBATCHES: Final = 100
"""Gradients per window in which AMSGrad's step size is set anew."""
LONGEST_STRETCH: Final = 8
"""Burn-in and thinning grow to at most so many times what was asked for."""

SAMPLERS: Final[Mapping[str, Sampler]] = {"sghmc": sghmc, "baoa": baoa}
"""Samplers by the kind that the configuration names."""


class StepReport(NamedTuple):
    """What one step tells the log.

    Attributes:
        plan: What the step was for.
        potential: U/N of the minibatch, mean over the group's chains.
        force_error: Mean absolute force error of the minibatch, eV/Angstrom.
        kinetic: T_kin, NaN where the chain does not sample.
        configurational: T_conf about the start of the chain, likewise; noisy, and too high by
            the excess heat with minibatches of a permutation.
        learning_rate: Of the optimiser, NaN outside pretraining.
    """

    plan: StepPlan
    potential: float
    force_error: float
    kinetic: float
    configurational: float
    learning_rate: float


def chain_settings(config: TrainingConfig) -> SamplerConfig:
    """The section of a run that samples; only those are asked for chains."""
    settings = config.method
    assert isinstance(settings, SamplerConfig), f"{settings.kind} is no Markov chain"
    return settings


def phase_schedule(config: TrainingConfig, *, halvings: int = 0) -> PhaseSchedule:
    """Steps of every phase, from the configuration.

    A chain whose squared step size was halved relaxes half as fast, so burn-in and the steps
    between draws double with each halving, up to ``LONGEST_STRETCH`` times; beyond that the
    run says by how much it samples too briefly.

    Args:
        config: The run.
        halvings: How often divergences halved the step size.

    Returns:
        The schedule.
    """
    sampler = chain_settings(config)
    preconditioner = sampler.preconditioner
    n_estimation = (
        preconditioner.minibatches
        if isinstance(preconditioner, InverseGradientVarianceConfig)
        else ESTIMATION_MINIBATCHES
    )
    schedule = PhaseSchedule(
        n_pretraining=config.pretraining.steps,
        n_estimation=n_estimation,
        n_ramp=sampler.ramp_steps,
        n_burn_in=sampler.burn_in_steps,
        n_reestimations=sampler.burn_in_rounds,
        sampling=_sampling_schedule(sampler),
    )
    return schedule.stretched(min(2**halvings, LONGEST_STRETCH))


def _sampling_schedule(sampler: MarkovChainConfig) -> SamplingSchedule:
    schedule = sampler.schedule
    if isinstance(schedule, CyclicalScheduleConfig):
        return CyclicalSchedule(
            n_draws=sampler.n_samples,
            draws_per_cycle=schedule.draws_per_cycle,
            thinning=sampler.thinning_steps,
            n_exploration=schedule.exploration_steps,
            n_ramp=schedule.ramp_steps,
            n_settling=schedule.settling_steps,
            exploration_temperature=schedule.exploration_temperature,
            floor=schedule.floor,
            temperature=sampler.temperature,
        )
    return ConstantSchedule(
        n_draws=sampler.n_samples,
        thinning=sampler.thinning_steps,
        temperature=sampler.temperature,
    )


def minibatch_source(config: TrainingConfig, generator: torch.Generator) -> MinibatchSource:
    """The minibatches of one chain, of the kind that the configuration names."""
    permuted = chain_settings(config).minibatches == "permutation"
    kind = PermutedMinibatches if permuted else IndependentMinibatches
    return kind(n_data=config.data.n_train, batch_size=config.batch_size, generator=generator)


def energy_weight(plan: StepPlan, *, warm_up: float) -> float:
    """Weight of the energy likelihood: rises from ENERGY_START to 1 while pretraining.

    Energies are far more precise than forces, number by number; at full weight from the
    first step their gradient drowns that of the forces.

    Args:
        plan: The step.
        warm_up: Fraction of pretraining over which it rises.

    Returns:
        The weight; 1 in every later phase.
    """
    if plan.phase is not Phase.PRETRAINING:
        return 1.0
    progress = min(1.0, plan.index / (plan.length * warm_up))
    return float(ENERGY_START ** (1.0 - progress))


def numbered(state: dict[str, Tensor], name: str, device: torch.device) -> list[Tensor]:
    """Tensors stored as ``name.0``, ``name.1``, ..., in order, on a device."""
    count = sum(key.startswith(f"{name}.") for key in state)
    return [state[f"{name}.{i}"].to(device) for i in range(count)]


def encode_text(text: str) -> Tensor:
    """A text as bytes, uint8."""
    return torch.tensor(list(text.encode()), dtype=torch.uint8)


def decode_text(data: Tensor) -> str:
    """The text that ``encode_text`` stored."""
    return bytes(data.tolist()).decode()
