"""The samplers against known posteriors: every check, over seeds and at full length."""

import pytest
import torch
from torch import Tensor

from posterion.posterior import sghmc
from posterion.posterior.minibatches import PermutedMinibatches
from posterion.posterior.types import SamplerUpdate
from tests.support.sampler_checks import BAOA_CHECKS, CHECKS, Check
from tests.support.sampler_kit import BAOA, SGHMC, STANDARD_ERRORS, Kit
from tests.support.sampling import FRICTION, Effort, run
from tests.support.targets import GaussianTarget, linear_regression

pytestmark = pytest.mark.statistical

CASES = [pytest.param(SGHMC, check, id=f"sghmc-{name}") for name, check in CHECKS.items()] + [
    pytest.param(BAOA, check, id=f"baoa-{name}") for name, check in BAOA_CHECKS.items()
]


@pytest.mark.parametrize(("kit", "check"), CASES)
def test_every_seed_passes(kit: Kit, check: Check) -> None:
    measurements = [check(kit, Effort(seed=seed)) for seed in range(1, 6)]
    assert all(measurement.passed for measurement in measurements), measurements


@pytest.mark.parametrize(("kit", "check"), CASES)
def test_a_longer_look_passes(kit: Kit, check: Check) -> None:
    """Four times the records halve the bounds that come from standard errors."""
    measurement = check(kit, Effort(n_steps=4000, seed=11))
    assert measurement.passed, measurement


@pytest.mark.parametrize("kit", [SGHMC, BAOA], ids=["sghmc", "baoa"])
def test_variance_up_to_the_limit_of_stability(kit: Kit) -> None:
    """At h = 3, of 3.8, the variance of SGHMC is 4.75 times too large, as derived.

    Records 50 steps apart correlate by at most .9^25, as in ``sampler_checks.variance``.
    """
    h = torch.tensor([0.5, 1.0, 2.0, 3.0])
    target = GaussianTarget(std=torch.logspace(-1, 1, 4))
    effort = Effort(n_chains=4096)
    update: SamplerUpdate = kit.sampler.update
    moments = run(
        update,
        lambda q, _: target.gradient(q),
        (h / target.curvature).expand(effort.n_chains, 4).contiguous(),
        effort,
        n_data=target.n_data,
    )
    ratio = moments.second_moment * target.curvature / kit.variance_ratio(h)
    bound = STANDARD_ERRORS * effort.standard_error(correlation=0.9**25)
    assert float((ratio - 1).abs().max()) < bound, ratio


def _heat_of_epochs(correction: Tensor | None, excess: Tensor, effort: Effort) -> Tensor:
    """Variance ratios of regression whose minibatches are cut from one permutation per epoch."""
    target = linear_regression(n_data=200, scales=(0.3, 1.0, 3.0), seed=1)
    orders = [
        PermutedMinibatches(
            n_data=target.n_data, batch_size=10, generator=torch.Generator().manual_seed(seed)
        )
        for seed in range(effort.n_chains)
    ]

    def gradient(position: Tensor, _: torch.Generator) -> Tensor:
        return target.gradient(position, torch.stack([order.next_batch() for order in orders]))

    # Orthogonal features: Var(g_i) = k_i / (N B) (N - B) / (N - 1) with the curvature k_i.
    curvature = target.posterior_precision.diagonal()
    variance = curvature / (target.n_data * 10) * (190 / 199)
    eta = (2 * FRICTION * excess / (target.n_data**2 * variance)).expand(effort.n_chains, 3)
    moments = run(
        sghmc.update,
        gradient,
        eta.contiguous(),
        effort,
        n_data=target.n_data,
        centre=target.posterior_mean,
        noise_correction=None if correction is None else correction * variance,
    )
    return moments.second_moment / target.posterior_variance


def test_minibatches_of_one_permutation_heat_far_less_and_must_not_be_corrected() -> None:
    """Their noise cancels over an epoch, shorter here than every relaxation time.

    256 chains x 120 records, correlated by exp(-.5): 5 standard errors are 0.06.
    """
    excess = torch.tensor([0.1, 0.3, 0.5])
    effort = Effort(n_chains=256, n_steps=6000, n_burn_in=1000)
    plain = _heat_of_epochs(None, excess, effort)
    corrected = _heat_of_epochs(torch.ones(3), excess, effort)
    assert bool(((plain - 1) < 0.2 * excess + 0.06).all()), plain
    assert bool((corrected < 1 - 0.7 * excess + 0.06).all()), corrected
