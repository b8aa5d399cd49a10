"""Prior, potential and schedules: values and derivatives."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from posterion.errors import ConfigurationError
from posterion.posterior.density import gradient_per_datum, potential_per_datum
from posterion.posterior.prior import GaussianPrior
from posterion.posterior.schedules import cosine_learning_rate, linear_temperature

MEAN = torch.tensor([1.0, 0.0, -2.0], dtype=torch.float64)
STD = torch.tensor([0.2, 1.0, 5.0], dtype=torch.float64)
PRIORS = [GaussianPrior(), GaussianPrior(std=0.5), GaussianPrior(mean=MEAN, std=STD)]


def _position() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 3, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("prior", PRIORS)
def test_log_density_is_the_normal_one(prior: GaussianPrior) -> None:
    position = _position()
    mean, std = (np.asarray(value) for value in (prior.mean, prior.std))
    expected = scipy.stats.norm(mean, std).logpdf(position.numpy()).sum(axis=-1)
    torch.testing.assert_close(prior.log_density(position), torch.as_tensor(expected))


@pytest.mark.parametrize("prior", PRIORS)
def test_gradient_is_that_of_the_log_density(prior: GaussianPrior) -> None:
    position = _position().requires_grad_()
    (expected,) = torch.autograd.grad(prior.log_density(position).sum(), position)
    torch.testing.assert_close(prior.gradient(position.detach()), expected)


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan"), torch.tensor([1.0, 0.0])])
def test_a_prior_without_width_is_refused(std: float | Tensor) -> None:
    with pytest.raises(ConfigurationError, match="must be positive"):
        GaussianPrior(std=std)


@pytest.mark.parametrize("prior", PRIORS)
def test_both_assemblies_of_the_potential_agree(prior: GaussianPrior) -> None:
    position = _position().requires_grad_()
    loss = position.pow(4).sum(dim=-1)
    total = potential_per_datum(loss, position, prior=prior, n_data=7)
    (whole,) = torch.autograd.grad(total.sum(), position)
    q = position.detach()
    torch.testing.assert_close(gradient_per_datum(4 * q**3, q, prior=prior, n_data=7), whole)


def test_the_potential_of_all_data_is_n_times_its_share() -> None:
    prior, position = GaussianPrior(std=2.0), _position()
    loss = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    share = potential_per_datum(loss, position, prior=prior, n_data=7)
    torch.testing.assert_close(7 * share, 7 * loss - prior.log_density(position))


def test_learning_rate_follows_half_a_cosine() -> None:
    rates = [cosine_learning_rate(i, n_steps=4, peak=1.0, floor=0.2) for i in range(6)]
    middle = 0.4 / math.sqrt(2.0)
    assert rates == pytest.approx([1.0, 0.6 + middle, 0.6, 0.6 - middle, 0.2, 0.2])


def test_temperature_ramp_ends_at_its_target() -> None:
    assert [linear_temperature(i, n_steps=4, target=2.0) for i in range(5)] == [
        0.5,
        1.0,
        1.5,
        2.0,
        2.0,
    ]
    assert linear_temperature(0, n_steps=0, target=2.0) == 2.0
