"""What a chain run is set up from: its phases, its preconditioner, its optimiser.

Also how lists of tensors and texts are kept among the named tensors of a checkpoint.
"""

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from torch import Tensor

from posterion.posterior.chain import Phase, PhaseSchedule, StepPlan
from posterion.posterior.preconditioner import Amsgrad, InverseGradientVariance
from posterion.training.config import TrainingConfig
from posterion.training.sampler_config import AmsgradConfig, InverseGradientVarianceConfig

Probe = Callable[[Tensor], Tensor]
"""Parameters ``(n_chains, n_parameters)`` to probe forces ``(n_chains, n_components)``."""

ENERGY_START: Final = 1e-4
"""Weight of the energy likelihood at the first step of pretraining."""
ESTIMATION_MINIBATCHES: Final = 100
"""Gradients per window in which AMSGrad's step size is set anew."""


class StepReport(NamedTuple):
    """What one step tells the log.

    Attributes:
        plan: What the step was for.
        potential: U/N of the minibatch, mean over the group's chains.
        force_error: Mean absolute force error of the minibatch, eV/Angstrom.
        kinetic: T_kin, NaN where the chain does not sample.
        configurational: T_conf, likewise; noisy, meant to be averaged.
        learning_rate: Of the optimiser, NaN outside pretraining.
    """

    plan: StepPlan
    potential: float
    force_error: float
    kinetic: float
    configurational: float
    learning_rate: float


def phase_schedule(config: TrainingConfig) -> PhaseSchedule:
    """Steps of every phase, from the configuration."""
    sampler = config.method
    preconditioner = sampler.preconditioner
    n_estimation = (
        preconditioner.minibatches
        if isinstance(preconditioner, InverseGradientVarianceConfig)
        else ESTIMATION_MINIBATCHES
    )
    return PhaseSchedule(
        n_pretraining=config.pretraining.steps,
        n_estimation=n_estimation,
        n_ramp=sampler.ramp_steps,
        n_burn_in=sampler.burn_in_steps,
        n_reestimations=sampler.burn_in_rounds,
        n_draws=sampler.n_samples,
        thinning=sampler.thinning_steps,
        temperature=sampler.temperature,
    )


def make_preconditioner(
    config: InverseGradientVarianceConfig | AmsgradConfig,
) -> InverseGradientVariance | Amsgrad:
    """Build the preconditioner that the configuration names."""
    if isinstance(config, AmsgradConfig):
        return Amsgrad(
            learning_rate=config.learning_rate, decay=config.decay, offset=config.damping
        )
    return InverseGradientVariance(prior_cap=config.prior_cap)


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
    progress = plan.index / (plan.length * warm_up)
    return float(min(1.0, ENERGY_START ** (1.0 - progress)))


def target_heat(config: InverseGradientVarianceConfig | AmsgradConfig) -> float:
    """Excess temperature the step size aims at; AMSGrad aims at none, so NaN."""
    return config.epsilon if isinstance(config, InverseGradientVarianceConfig) else math.nan


def make_optimizer(position: Tensor) -> torch.optim.Adam:
    """AMSGrad on all chains at once: it works element by element, so they do not mix."""
    return torch.optim.Adam([position], amsgrad=True, foreach=False)


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
