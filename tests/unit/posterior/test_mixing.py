"""R-hat and effective sample size, on draws whose answer is known."""

import math

import pytest
import torch
from torch import Tensor

from posterion.posterior import mixing

SPLIT = [
    mixing.between_chain_rhat,
    mixing.within_chain_rhat,
    mixing.effective_sample_size,
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


def test_between_chain_rhat_by_hand() -> None:
    draws = torch.tensor([[0.0, 2.0], [4.0, 6.0]]).repeat(1, 4)
    # Within 8 / 7, means 1 and 5 with variance 8: sqrt(8 / (8 / 7) + 7 / 8).
    assert float(mixing.between_chain_rhat(draws)) == pytest.approx(math.sqrt(7.875))


def test_within_chain_rhat_by_hand() -> None:
    draws = torch.tensor([[0.0, 2.0, 0.0, 2.0, 4.0, 6.0, 4.0, 6.0]])
    # Halves with variance 4 / 3, means 1 and 5 with variance 8: sqrt(8 / (4 / 3) + 3 / 4).
    assert float(mixing.within_chain_rhat(draws)) == pytest.approx(math.sqrt(6.75))


def test_drift_shows_within_chains_and_difference_between_them() -> None:
    noise = _normal(4, 200)
    drifting = noise + torch.linspace(-3, 3, 200, dtype=torch.float64)
    apart = noise + torch.tensor([-3.0, -1.0, 1.0, 3.0], dtype=torch.float64)[:, None]
    assert float(mixing.within_chain_rhat(drifting).min()) > 1.5
    assert float(mixing.between_chain_rhat(drifting)) < 1.01
    assert float(mixing.within_chain_rhat(apart).max()) < 1.05
    assert float(mixing.between_chain_rhat(apart)) > 1.5


def test_rhat_does_not_depend_on_location_and_scale() -> None:
    draws = _normal(3, 40, 2)
    torch.testing.assert_close(
        mixing.within_chain_rhat(7.0 - 30.0 * draws), mixing.within_chain_rhat(draws)
    )


@pytest.mark.parametrize("diagnostic", SPLIT)
def test_too_few_draws_are_refused(diagnostic: mixing.Diagnostic) -> None:
    with pytest.raises(ValueError, match=r"n_draws >= 8, .*\(2, 3\)"):
        diagnostic(_normal(2, 3))


@pytest.mark.parametrize("correlation", [-0.5, 0.0, 0.5, 0.9])
def test_effective_sample_size_of_an_autoregression(correlation: float) -> None:
    n_chains, n_draws = 16, 4000
    size = float(mixing.effective_sample_size(_autoregressive(n_chains, n_draws, correlation)))
    exact = n_chains * n_draws * (1 - correlation) / (1 + correlation)
    # An autocorrelation summed over a window of w lags has relative error sqrt(2 w / n); the
    # window here is below 10 / (1 - |r|) = 100 lags of 64000 draws: 6 %, and twice that.
    assert size == pytest.approx(exact, rel=0.12)


def test_chains_that_disagree_count_as_few_draws() -> None:
    apart = _normal(4, 500) + torch.tensor([-9.0, -3.0, 3.0, 9.0], dtype=torch.float64)[:, None]
    assert float(mixing.effective_sample_size(apart)) < 20.0


def test_components_do_not_see_each_other() -> None:
    draws = _autoregressive(4, 64, 0.5)[:, :, None] * torch.ones(3, dtype=torch.float64)
    draws[:, :, 1] = _normal(4, 64, seed=2)
    for diagnostic in SPLIT:
        together = diagnostic(draws)
        for i in range(3):
            torch.testing.assert_close(together[..., i], diagnostic(draws[:, :, i]))


@pytest.mark.parametrize("diagnostic", SPLIT)
def test_nothing_is_said_about_a_component_that_never_varies(
    diagnostic: mixing.Diagnostic,
) -> None:
    draws = _normal(4, 64, 3)
    draws[:, :, 1] = 2.0
    value = diagnostic(draws)
    assert bool(torch.isnan(value[..., 1]).all())
    assert bool(torch.isfinite(value[..., [0, 2]]).all())
    expected = float(diagnostic(draws[:, :, [0, 2]]).median())
    assert mixing.median(diagnostic, draws) == pytest.approx(expected)


@pytest.mark.parametrize("diagnostic", SPLIT)
def test_a_draw_that_is_not_finite_keeps_every_gate_shut(
    diagnostic: mixing.Diagnostic,
) -> None:
    draws = _normal(4, 64, 3)
    draws[2, 5, 1] = math.inf
    value = mixing.median(diagnostic, draws)
    assert math.isnan(value)
    assert not value <= 1.2


@pytest.mark.parametrize("diagnostic", SPLIT)
def test_too_few_draws_are_refused_with_their_shape(
    diagnostic: mixing.Diagnostic,
) -> None:
    with pytest.raises(ValueError, match=r"got \(3, 1\)"):
        diagnostic(torch.zeros(3, 1))
