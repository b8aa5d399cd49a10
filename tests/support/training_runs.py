"""Small training configurations, and chains on a target that needs no network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from posterion.training.chain_run import ChainRun
from posterion.training.config import TrainingConfig
from posterion.training.objective import Potential, PotentialFunction

N_DATA = 24
N_PARAMETERS = 5
NOISE = 0.3

PRECONDITIONERS: dict[str, dict[str, Any]] = {
    "inverse-gradient-variance": {"epsilon": 0.1, "minibatches": 10},
    "amsgrad": {"learning_rate": 1e-3},
}

SMALL_NETWORK: dict[str, Any] = {
    "cutoff": 3.0,
    "n_layers": 2,
    "n_features": 4,
    "l_max": 1,
    "n_radial": 4,
    "radial_hidden": 8,
    "readout_hidden": 4,
}


def training_config(
    files: tuple[Path, ...] = (Path("frames.extxyz"),), **changes: object
) -> TrainingConfig:
    """A configuration with few steps of every phase; ``changes`` replace top-level keys."""
    document: dict[str, Any] = {
        "name": "water",
        "description": "Water with Morse bonds.",
        "licence": "CC0-1.0",
        "level_of_theory": "analytic",
        "data_source": "made by the test",
        "batch_size": 4,
        "n_chains": 2,
        "seed": 3,
        "data": {"files": list(files), "n_train": N_DATA, "n_calibration": 40, "n_report": 20},
        "network": SMALL_NETWORK,
        "pretraining": {"steps": 20, "learning_rate": 0.02, "average_decay": 0.9},
        "method": sampler(),
        "execution": {
            "device": "cpu",
            "compile": "never",
            "checkpoint_every": 7,
            "log_every": 5,
        },
    }
    return TrainingConfig.model_validate(document | changes)


def sampler(kind: str = "inverse-gradient-variance", **changes: object) -> dict[str, Any]:
    """The section of a chain: a few steps of every phase."""
    return {
        "kind": "sghmc",
        "preconditioner": {"kind": kind} | PRECONDITIONERS[kind],
        "ramp_steps": 6,
        "burn_in_steps": 9,
        "burn_in_rounds": 2,
        "thinning_steps": 4,
        "n_samples": 3,
    } | changes


CYCLES: dict[str, Any] = {
    "kind": "cyclical",
    "exploration_steps": 3,
    "exploration_temperature": 2.0,
    "ramp_steps": 2,
    "settling_steps": 2,
    "draws_per_cycle": 1,
    "floor": 0.2,
}

VARIANTS: dict[str, dict[str, Any]] = {
    "sghmc": sampler(),
    "amsgrad": sampler("amsgrad"),
    "baoa": sampler() | {"kind": "baoa"},
    "cyclical": sampler(schedule=CYCLES, thinning_steps=8),
    "corrected": sampler(minibatches="independent", noise_correction=True),
}
"""Sections that differ in one alternative each."""


def regression() -> PotentialFunction:
    """U/N of Bayesian linear regression: a density with true minibatch noise, in float64."""
    generator = torch.Generator().manual_seed(11)
    inputs = torch.randn((N_DATA, N_PARAMETERS), generator=generator, dtype=torch.float64)
    truth = torch.randn(N_PARAMETERS, generator=generator, dtype=torch.float64)
    noise = torch.randn(N_DATA, generator=generator, dtype=torch.float64)
    targets = inputs @ truth + NOISE * noise

    def potential(parameters: Tensor, indices: Tensor, energy_weight: Tensor) -> Potential:
        batch = inputs[indices]
        error = torch.einsum("cbp,cp->cb", batch, parameters) - targets[indices]
        likelihood = torch.einsum("cb,cbp->cp", error, batch) / (NOISE**2 * indices.shape[1])
        value = error.square().mean(dim=1) / (2.0 * NOISE**2)
        prior = parameters / N_DATA
        return Potential(energy_weight * likelihood + prior, value, error.abs().mean(dim=1))

    return potential


def regression_run(
    config: TrainingConfig,
    potential: PotentialFunction | None = None,
    *,
    chains: tuple[int, ...] = (0, 1),
) -> ChainRun:
    """Chains on that regression; the probe is its parameters."""
    return ChainRun(
        config,
        chains,
        potential=regression() if potential is None else potential,
        probe=lambda parameters: parameters.clone(),
        initial=initial_parameters,
        dtype=torch.float64,
        device=torch.device("cpu"),
    )


def initial_parameters(generator: torch.Generator) -> Tensor:
    """Standard normal."""
    return torch.randn(N_PARAMETERS, generator=generator, dtype=torch.float64)


def failing_at(call: int, potential: PotentialFunction) -> PotentialFunction:
    """The same potential, whose gradient is NaN at one call, counted from 0."""
    calls = 0

    def failing(parameters: Tensor, indices: Tensor, energy_weight: Tensor) -> Potential:
        nonlocal calls
        result = potential(parameters, indices, energy_weight)
        calls += 1
        if calls - 1 == call:
            return result._replace(gradient=torch.full_like(result.gradient, torch.nan))
        return result

    return failing


def run_until(run: ChainRun, done: Callable[[ChainRun], bool]) -> None:
    """Advance until a condition holds."""
    while not done(run):
        run.advance()
