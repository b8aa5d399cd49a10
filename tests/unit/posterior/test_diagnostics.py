"""Thermometers, R-hat and effective sample size, on numbers whose answer is known."""

import math

import pytest
import torch
from torch import Tensor

from posterion.posterior import diagnostics

SPLIT = [
    diagnostics.between_chain_rhat,
    diagnostics.split_rhat,
    diagnostics.within_chain_rhat,
    diagnostics.effective_sample_size,
]


def _normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _autoregressive(n_chains: int, n_draws: int, correlation: float) -> Tensor:
    noise = _normal(n_chains, n_draws) * (1 - correlation**2) ** 0.5
    draws = torch.empty_like(noise)
    draws[:, 0] = _normal(n_chains, seed=1)
    for i in range(1, n_draws):
        draws[:, i] = correlation * draws[:, i - 1] + noise[:, i]
    return draws


def test_kinetic_temperature_of_a_known_momentum() -> None:
    momentum, eta = torch.tensor([[2.0, 1.0], [0.0, 4.0]]), torch.tensor([[0.5, 0.25]])
    # (2 - .1) / 2 times the means of (8, 4) and (0, 64)
    torch.testing.assert_close(
        diagnostics.kinetic_temperature(momentum, eta, 0.1), 0.95 * torch.tensor([6.0, 32.0])
    )


def test_configurational_temperature_of_a_known_position() -> None:
    position, gradient = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.3, -0.1]])
    reading = diagnostics.configurational_temperature(position, gradient, 10)
    torch.testing.assert_close(reading, torch.tensor([0.5]))


def test_excess_heat_of_a_known_step() -> None:
    heat = diagnostics.excess_heat(
        torch.tensor([[1e-4]]), torch.tensor([[0.5]]), n_data=20, friction=0.1
    )
    torch.testing.assert_close(heat, torch.tensor([[0.1]]))


def test_relaxation_takes_five_epochs_at_a_tenth() -> None:
    steps = diagnostics.relaxation_steps(epsilon=0.1, n_data=950, batch_size=5)
    assert steps == pytest.approx(5 * 190)


def test_between_chain_rhat_by_hand() -> None:
    draws = torch.tensor([[0.0, 2.0], [4.0, 6.0]])
    # Within 2, means 1 and 5 with variance 8: sqrt(8 / 2 + 1 / 2)
    assert float(diagnostics.between_chain_rhat(draws)) == pytest.approx(math.sqrt(4.5))


def test_drift_shows_within_chains_and_difference_between_them() -> None:
    noise = _normal(4, 200)
    drifting = noise + torch.linspace(-3, 3, 200, dtype=torch.float64)
    apart = noise + torch.tensor([-3.0, -1.0, 1.0, 3.0], dtype=torch.float64)[:, None]
    assert float(diagnostics.within_chain_rhat(drifting).min()) > 1.5
    assert float(diagnostics.between_chain_rhat(drifting)) < 1.01
    assert float(diagnostics.within_chain_rhat(apart).max()) < 1.05
    assert float(diagnostics.between_chain_rhat(apart)) > 1.5
    assert float(diagnostics.split_rhat(drifting)) > 1.5
    assert float(diagnostics.split_rhat(apart)) > 1.5


def test_rhat_of_independent_draws_is_one() -> None:
    # Means of 200 draws vary by 1 / 200: R-hat^2 = 1 - 1/200 + chi2_7 / 7 / 200 < 1.02.
    for rhat in (diagnostics.split_rhat, diagnostics.between_chain_rhat):
        assert 0.99 < float(rhat(_normal(4, 400).reshape(4, 400))) < 1.01


def test_rhat_does_not_depend_on_location_and_scale() -> None:
    draws = _normal(3, 40, 2)
    torch.testing.assert_close(
        diagnostics.split_rhat(7.0 - 30.0 * draws), diagnostics.split_rhat(draws)
    )


def test_an_odd_number_of_draws_leaves_out_the_last() -> None:
    draws = _normal(2, 11)
    torch.testing.assert_close(diagnostics.split_rhat(draws), diagnostics.split_rhat(draws[:, :10]))


def test_rank_normalised_draws_are_normal_whatever_their_tails() -> None:
    heavy = torch.tan(1.5 * torch.erf(_normal(4, 500)))
    scores = diagnostics.rank_normalize(heavy)
    # The normal scores of 2000 ranks are the same set for any draws.
    assert float(scores.mean().abs()) < 1e-12
    assert float(scores.var()) == pytest.approx(1.0, abs=0.01)
    order = heavy.flatten().argsort()
    assert bool((scores.flatten()[order].diff() > 0).all())


@pytest.mark.parametrize("correlation", [-0.5, 0.0, 0.5, 0.9])
def test_effective_sample_size_of_an_autoregression(correlation: float) -> None:
    n_chains, n_draws = 16, 4000
    size = float(diagnostics.effective_sample_size(_autoregressive(n_chains, n_draws, correlation)))
    exact = n_chains * n_draws * (1 - correlation) / (1 + correlation)
    # An autocorrelation summed over a window of w lags has relative error sqrt(2 w / n); the
    # window here is below 10 / (1 - |r|) = 100 lags of 64000 draws: 6 %, and twice that.
    assert size == pytest.approx(exact, rel=0.12)


def test_chains_that_disagree_count_as_few_draws() -> None:
    apart = _normal(4, 500) + torch.tensor([-9.0, -3.0, 3.0, 9.0], dtype=torch.float64)[:, None]
    assert float(diagnostics.effective_sample_size(apart)) < 20.0


def test_components_do_not_see_each_other() -> None:
    draws = _autoregressive(4, 64, 0.5)[:, :, None] * torch.ones(3, dtype=torch.float64)
    draws[:, :, 1] = _normal(4, 64, seed=2)
    for diagnostic in SPLIT:
        together = diagnostic(draws)
        for i in range(3):
            torch.testing.assert_close(together[..., i], diagnostic(draws[:, :, i]))


@pytest.mark.parametrize("diagnostic", SPLIT)
def test_nothing_is_said_about_a_component_that_never_varies(
    diagnostic: diagnostics.Diagnostic,
) -> None:
    draws = _normal(4, 64, 3)
    draws[:, :, 1] = 2.0
    value = diagnostic(draws)
    assert bool(torch.isnan(value[..., 1]).all())
    assert bool(torch.isfinite(value[..., [0, 2]]).all())
    expected = float(diagnostic(draws[:, :, [0, 2]]).median())
    assert diagnostics.median(diagnostic, draws) == pytest.approx(expected)


@pytest.mark.parametrize("diagnostic", SPLIT)
def test_a_draw_that_is_not_finite_keeps_every_gate_shut(
    diagnostic: diagnostics.Diagnostic,
) -> None:
    draws = _normal(4, 64, 3)
    draws[2, 5, 1] = math.inf
    value = diagnostics.median(diagnostic, draws)
    assert math.isnan(value)
    assert not value <= 1.2


@pytest.mark.parametrize("diagnostic", SPLIT)
def test_too_few_draws_are_refused_with_their_shape(
    diagnostic: diagnostics.Diagnostic,
) -> None:
    with pytest.raises(ValueError, match=r"got \(3, 1\)"):
        diagnostic(torch.zeros(3, 1))
