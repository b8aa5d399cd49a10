"""The scores of a bank whose references are drawn from its own prediction are known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from posterion.uncertainty.bootstrap import bootstrap
from posterion.uncertainty.judged import Judged
from posterion.uncertainty.residuals import Residuals
from posterion.uncertainty.score_statistics import (
    COVERAGE_LEVELS,
    Statistics,
    accuracy_statistics,
    calibrated_nll_statistics,
    novelty_statistics,
    predictive_statistics,
    ranking_statistics,
)

N_FRAMES, N_PER_FRAME = 2000, 6
N = N_FRAMES * N_PER_FRAME
FIVE = 5.0
ROUNDING = 1e-12


def values(statistics: Statistics, n_frames: int = N_FRAMES) -> dict[str, float | None]:
    found = bootstrap(statistics, n_frames=[n_frames], n_resamples=0, seed=0)
    return {name: one.value for name, one in found.items()}


@pytest.fixture(scope="module")
def gaussian() -> Residuals:
    """One sample, so the mixture is the Gaussian; references drawn from it."""
    rng = np.random.default_rng(0)
    std = rng.uniform(0.5, 2.0, size=N)
    error = rng.normal(scale=std)
    return Residuals(
        prediction=error,
        reference=np.zeros(N),
        epistemic=0.6 * std,
        aleatoric=0.8 * std,
        sample_residuals=error[None],
        sample_std=std[None],
        frame=np.repeat(np.arange(N_FRAMES), N_PER_FRAME),
    )


def test_a_true_gaussian_has_the_scores_of_theory(gaussian: Residuals) -> None:
    found = values(predictive_statistics(gaussian, n_frames=N_FRAMES))
    std = gaussian.total
    entropy = np.log(std) + 0.5 * np.log(2.0 * np.pi * np.e)
    for name in ("nll_gaussian", "nll_mixture"):
        # Half a chi-squared of one degree has variance 1/2.
        assert found[name] == pytest.approx(entropy.mean(), abs=FIVE * np.sqrt(0.5 / N))
    for name in ("crps_gaussian", "crps_mixture"):
        # E CRPS = std / sqrt(pi); that of the standard normal deviates by less than 0.6.
        expected = std.mean() / np.sqrt(np.pi)
        assert found[name] == pytest.approx(expected, abs=FIVE * 0.6 * 2.0 / np.sqrt(N))
    for level in COVERAGE_LEVELS:
        assert found[f"coverage_{100 * level:.0f}"] == pytest.approx(
            level, abs=FIVE * np.sqrt(level * (1.0 - level) / N)
        )
    assert found["sharpness"] == pytest.approx(np.sqrt(np.mean(std**2)), rel=ROUNDING)
    # The area between an empirical curve and the truth is about half 1/sqrt(n).
    assert found["miscalibration_area"] < 2.0 / np.sqrt(N)
    expected_rho = spearmanr(std, np.abs(gaussian.error)).statistic
    assert found["spearman"] == pytest.approx(expected_rho, abs=ROUNDING)


def test_errors_are_those_of_the_mean(gaussian: Residuals) -> None:
    found = values(accuracy_statistics(gaussian, n_frames=N_FRAMES))
    assert found["mae"] == pytest.approx(np.abs(gaussian.error).mean(), rel=ROUNDING)
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean(gaussian.error**2)), rel=ROUNDING)


def test_calibrated_nll_ignores_a_wrong_scale(gaussian: Residuals) -> None:
    right = values(calibrated_nll_statistics(gaussian, n_frames=N_FRAMES))
    loose = replace(gaussian, epistemic=3.0 * gaussian.epistemic, aleatoric=0 * gaussian.aleatoric)
    wrong = values(calibrated_nll_statistics(loose, n_frames=N_FRAMES))
    assert sorted(right) == ["cnll_aleatoric", "cnll_epistemic", "cnll_total"]
    for name in ("cnll_epistemic", "cnll_total"):
        assert wrong[name] == pytest.approx(right["cnll_total"], abs=1e-4)
    # Nothing is left to tell the values apart: the Gaussian of the mean square is the best.
    flat = 0.5 * (1.0 + np.log(2.0 * np.pi * np.mean(gaussian.error**2)))
    assert wrong["cnll_aleatoric"] == pytest.approx(flat, abs=0.01)
    with_latent = calibrated_nll_statistics(gaussian, n_frames=N_FRAMES, latent=gaussian.total)
    assert "cnll_latent" in with_latent
    exact = replace(gaussian, prediction=gaussian.reference)
    assert calibrated_nll_statistics(exact, n_frames=N_FRAMES) == {}


def judged(error: list[float], uncertainty: list[float]) -> Judged:
    return Judged(
        error=np.array(error),
        uncertainty={"epistemic": np.array(uncertainty)},
        frame=np.arange(len(error)),
    )


def test_errors_above_each_threshold_are_looked_for() -> None:
    atoms = judged([0.05, 0.15, 0.2, 0.5], [1.0, 3.0, 2.0, 4.0])
    found = values(ranking_statistics(atoms, thresholds=[0.1, 0.3, 0.9]), n_frames=4)
    assert found["fraction/error_above_0.1"] == 0.75
    assert found["auroc/error_above_0.1/epistemic"] == 1.0
    assert found["auprc/error_above_0.3/epistemic"] == 1.0
    assert found["fraction/error_above_0.9"] == 0.0
    assert found["auroc/error_above_0.9/epistemic"] is None
    assert found["spearman/epistemic"] == pytest.approx(0.8)


def test_strange_structures_are_told_from_ordinary_ones() -> None:
    inside, outside = judged([0.0] * 3, [1.0, 2.0, 3.0]), judged([0.0] * 2, [2.5, 9.0])
    found = bootstrap(
        novelty_statistics(inside, outside, n_inside=3), n_frames=[3, 2], n_resamples=20, seed=0
    )
    assert found["auroc/out_of_distribution/epistemic"].value == pytest.approx(5 / 6)
    # Groups are resampled apart, so that the fraction never changes.
    assert found["fraction/out_of_distribution"].low == pytest.approx(0.4)
    assert found["fraction/out_of_distribution"].high == pytest.approx(0.4)
