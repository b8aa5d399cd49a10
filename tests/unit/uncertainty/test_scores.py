"""Scores agree with values worked out by hand and with Gaussians of known width."""

import numpy as np
import pytest
from scipy.stats import norm

from posterion.uncertainty.scores import (
    MiscalibrationArea,
    gaussian_nll,
    interval_coverage,
    interval_half_width,
    mean_absolute_error,
    miscalibration_area,
    reliability_curve,
    root_mean_square_error,
    sharpness,
)

N_DRAWS = 40_000
ROUNDING = 1e-12
# Five standard errors of a fraction near 1/2 over the draws: 5 sqrt(1/4 / 40000).
MONTE_CARLO = 0.0125


def draws(width: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.random.default_rng(0).normal(scale=width, size=N_DRAWS)


def test_errors_of_known_residuals() -> None:
    residuals = np.array([3.0, -4.0, 0.0, 0.0])
    assert mean_absolute_error(residuals) == 1.75
    assert root_mean_square_error(residuals) == 2.5


def test_nll_is_that_of_the_gaussian() -> None:
    residuals, std = np.array([0.3, -1.2]), np.array([0.5, 2.0])
    expected = -norm.logpdf(residuals, scale=std).mean()
    assert gaussian_nll(residuals, std) == pytest.approx(expected, abs=ROUNDING)


def test_nll_is_least_at_the_true_width() -> None:
    residuals = draws(1.0)
    nll = {width: gaussian_nll(residuals, np.full(N_DRAWS, width)) for width in (0.9, 1.0, 1.1)}
    assert min(nll, key=lambda width: nll[width]) == 1.0


def test_ninety_percent_is_one_point_six_four_five() -> None:
    assert round(interval_half_width(0.90), 3) == 1.645


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1])
def test_a_level_outside_zero_and_one_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        interval_half_width(level)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_coverage_of_a_calibrated_gaussian_is_the_level(level: float) -> None:
    coverage = interval_coverage(draws(2.0), np.full(N_DRAWS, 2.0), level=level)
    assert coverage == pytest.approx(level, abs=MONTE_CARLO)


def test_coverage_counts_what_lies_inside() -> None:
    residuals = np.array([0.0, 1.6, -1.6, 1.7])
    assert interval_coverage(residuals, np.ones(4), level=0.90) == 0.75


def test_the_reliability_curve_of_half_the_width_is_the_gaussian_one() -> None:
    levels = np.array([0.5, 0.9])
    curve = reliability_curve(draws(2.0), np.ones(N_DRAWS), levels)
    expected = 2.0 * norm.cdf(norm.ppf(0.5 + levels / 2.0) / 2.0) - 1.0
    np.testing.assert_allclose(curve, expected, atol=MONTE_CARLO)


def test_a_calibrated_gaussian_has_no_miscalibration_area() -> None:
    assert miscalibration_area(draws(1.0), np.ones(N_DRAWS)) < MONTE_CARLO


def test_certainty_about_the_right_answer_is_half_an_area() -> None:
    assert miscalibration_area(np.zeros(7), np.ones(7)) == pytest.approx(0.5, abs=ROUNDING)


def test_the_area_of_one_value_is_worked_out_by_hand() -> None:
    # Observed coverage is 0 below p and 1 above it: p^2/2 + (1 - p)^2/2.
    p = 0.6
    residual = np.array([interval_half_width(p)])
    area = miscalibration_area(residual, np.ones(1))
    assert area == pytest.approx((p**2 + (1.0 - p) ** 2) / 2.0, abs=ROUNDING)


def test_the_area_is_the_integral_of_the_reliability_curve() -> None:
    residuals, std = draws(3.0)[:500], np.ones(500)
    levels = np.linspace(0.0, 1.0, 20_001)
    distance = np.abs(reliability_curve(residuals, std, levels) - levels)
    # Each of 500 steps is misplaced by at most one of 20000 grid cells.
    assert miscalibration_area(residuals, std) == pytest.approx(
        np.trapezoid(distance, levels), abs=1e-4
    )


def test_scores_do_not_depend_on_the_unit() -> None:
    residuals, std = draws(1.0)[:100], np.full(100, 0.7)
    assert miscalibration_area(1e3 * residuals, 1e3 * std) == pytest.approx(
        miscalibration_area(residuals, std), abs=ROUNDING
    )


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"one shape, got \(2,\) and \(3,\)"):
        gaussian_nll(np.zeros(2), np.ones(3))
    with pytest.raises(ValueError, match="std must be positive, the smallest is 0"):
        gaussian_nll(np.zeros(2), np.array([1.0, 0.0]))
    with pytest.raises(ValueError, match="at least one residual"):
        mean_absolute_error(np.zeros(0))


def test_sharpness_is_the_root_of_the_mean_variance() -> None:
    assert sharpness(np.array([3.0, 4.0])) == pytest.approx(np.sqrt(12.5), abs=ROUNDING)


def test_weighted_area_is_that_of_repeated_frames() -> None:
    rng = np.random.default_rng(6)
    frame = np.repeat(np.arange(10), 3)
    residuals, std = rng.normal(scale=1.4, size=30), rng.uniform(0.5, 2.0, size=30)
    counts = rng.integers(4, size=10)
    each = counts[frame]
    expected = miscalibration_area(np.repeat(residuals, each), np.repeat(std, each))
    area = MiscalibrationArea(residuals, std, frame)
    assert area(counts.astype(float)) == pytest.approx(expected, abs=ROUNDING)
    assert np.isnan(area(np.zeros(10)))
