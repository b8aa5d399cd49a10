"""Whole chains, from pretraining to the last draw, against the posterior of linear regression."""

import pytest
import torch
from torch import Tensor

from posterion.posterior.density import gradient_per_datum
from posterion.posterior.prior import GaussianPrior
from posterion.training.chain_run import ChainRun
from posterion.training.config import TrainingConfig
from posterion.training.objective import Potential, PotentialFunction
from posterion.training.sampler_config import TransferPriorConfig
from tests.support.sampler_kit import STANDARD_ERRORS
from tests.support.targets import linear_regression
from tests.support.training_runs import run_until, training_config

pytestmark = pytest.mark.statistical

TARGET = linear_regression(n_data=200, scales=(0.3, 1.0, 3.0), seed=1)
N_CHAINS = 256
N_DRAWS = 20
EXCESS = 0.3
RELAXATION = 200 / 10 / (2 * EXCESS)
"""Steps, a third of a hundred."""

CYCLES = {
    "kind": "cyclical",
    "exploration_steps": 40,
    "ramp_steps": 20,
    "settling_steps": 400,
    "draws_per_cycle": 2,
    "floor": 0.25,
}


def config(**method: object) -> TrainingConfig:
    """Step sizes for an excess of 0.3, so that what is wrong with minibatches shows."""
    preconditioner = {
        "kind": "inverse-gradient-variance",
        "epsilon": EXCESS,
        "minibatches": 150,
        "prior_cap": 1.0,
    }
    section: dict[str, object] = {
        "kind": "sghmc",
        "preconditioner": preconditioner,
        "ramp_steps": 50,
        "burn_in_steps": 500,
        "burn_in_rounds": 1,
        "thinning_steps": 100,
        "n_samples": N_DRAWS,
    }
    return training_config(
        batch_size=10,
        n_chains=2,
        data={"files": ["none.extxyz"], "n_train": 200, "n_calibration": 20, "n_report": 10},
        prior={"kind": "gaussian", "std": 10.0},
        pretraining={"steps": 300, "learning_rate": 0.05},
        method=section | method,
    )


def potential(parameters: Tensor, indices: Tensor, energy_weight: Tensor) -> Potential:
    nothing = torch.zeros(len(parameters))
    return Potential(TARGET.gradient(parameters, indices), nothing, nothing + 1.0)


def finished(
    settings: TrainingConfig,
    target: PotentialFunction = potential,
    *,
    start: Tensor | float = 0.0,
) -> ChainRun:
    run = ChainRun(
        settings,
        range(N_CHAINS),
        potential=target,
        probe=lambda parameters: parameters,
        initial=lambda generator: start + torch.randn(3, generator=generator),
        dtype=torch.float32,
        device=torch.device("cpu"),
    )
    run_until(run, lambda run: run.finished)
    return run


def variance_ratio(run: ChainRun) -> Tensor:
    """Variance of the draws about the exact mean over the exact variance at T = 1."""
    error = run.draws.stacked() - TARGET.posterior_mean
    return error.square().mean(dim=(0, 1)) / TARGET.posterior_variance


# 256 chains x 20 draws three relaxation times apart are independent: 5 standard errors are
# 0.1 of the ratio. Step sizes from 150 minibatches and the noise of the gradient away from
# the mode add 4 % of the excess, the noise of an epoch of permutations at most
# 2/3 excess^2 = 0.06.
BOUND = STANDARD_ERRORS * (2.0 / (N_CHAINS * N_DRAWS)) ** 0.5
CASES: dict[str, tuple[dict[str, object], float, float]] = {
    "permutation": ({}, 1.03, 0.03),
    "independent": ({"minibatches": "independent"}, 1.0 + EXCESS, 0.02),
    "corrected": ({"minibatches": "independent", "noise_correction": True}, 1.0, 0.02),
    "baoa": ({"kind": "baoa"}, 1.03, 0.03),
    "baoa corrected": (
        {"kind": "baoa", "minibatches": "independent", "noise_correction": True},
        1.0,
        0.02,
    ),
    "cyclical": ({"schedule": CYCLES}, 1.03, 0.03),
    "amsgrad": ({"preconditioner": {"kind": "amsgrad", "learning_rate": 2e-3}}, 1.05, 0.05),
}


@pytest.mark.parametrize("case", CASES)
def test_draws_have_the_variance_of_the_posterior(case: str) -> None:
    method, truth, systematic = CASES[case]
    ratio = variance_ratio(finished(config(**method)))
    assert float((ratio - truth).abs().max()) < truth * BOUND + systematic, ratio


def test_cold_posterior_is_that_much_narrower() -> None:
    """T = 0.05 with steps for an excess of 0.05: permutations heat by 2/3 .05^2 / T = 3 %.

    Positions relax in 200 steps; 10 draws 400 steps apart correlate by .14. The gradient is
    noisier away from the mode, so the step sizes are found in four rounds.
    """
    temperature, gentle = 0.05, {"kind": "inverse-gradient-variance", "epsilon": 0.05}
    settings = config(
        temperature=temperature,
        preconditioner=gentle | {"prior_cap": 1.0},
        burn_in_steps=2000,
        burn_in_rounds=4,
        thinning_steps=400,
        n_samples=10,
    )
    run = finished(settings)
    ratio = variance_ratio(run) / temperature
    bound = 0.03 + STANDARD_ERRORS * (2.0 / (N_CHAINS * 10)) ** 0.5
    assert float((ratio - 1.015).abs().max()) < bound, ratio
    sums = run.state_dict()
    reading = sums["virial.total"] * 200 / sums["virial.n_windows"]
    # A window of a tenth of the relaxation time leaves out 3 %; squares over 20 such times.
    bound = 0.03 + STANDARD_ERRORS * (2.0 / (N_CHAINS * 20 * 3)) ** 0.5
    assert float(reading.mean()) / temperature == pytest.approx(0.985, abs=bound)


def test_without_data_a_transfer_prior_is_sampled_around_its_centre() -> None:
    """H = .002 relaxes in 50 steps, records 100 steps apart correlate by exp(-2)."""
    centre, std = torch.tensor([1.5, 0.0, -3.0]), 0.2
    prior = {"kind": "transfer", "store": "none", "bank": "none", "std": std}
    wide = {"kind": "inverse-gradient-variance", "prior_cap": 0.02}
    settings = config(preconditioner=wide).model_copy(
        update={"prior": TransferPriorConfig.model_validate(prior)}
    )
    density = GaussianPrior(mean=centre, std=std)

    def silent(parameters: Tensor, indices: Tensor, energy_weight: Tensor) -> Potential:
        nothing = torch.zeros(len(parameters))
        gradient = gradient_per_datum(
            torch.zeros_like(parameters), parameters, prior=density, n_data=200
        )
        return Potential(gradient, nothing, nothing + 1.0)

    run = finished(settings, silent, start=centre)
    error = run.draws.stacked() - centre
    ratio = error.square().mean(dim=(0, 1)) / std**2
    assert float((ratio - 1.0).abs().max()) < BOUND + 0.01, ratio
    # The means of 5120 draws of unit variance.
    assert float(error.mean(dim=(0, 1)).abs().max()) / std < STANDARD_ERRORS / 60
