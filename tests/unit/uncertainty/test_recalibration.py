"""The calibrated NLL finds a known variance, and no constant of scale changes it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from posterion.uncertainty.proper_scores import gaussian_log_loss
from posterion.uncertainty.recalibration import VarianceFit, calibrated_log_loss, fit_variance

N = 20_000
SLOPE, OFFSET = 4.0, 0.25
OPTIMISER = 1e-4

FloatArray = NDArray[np.float64]


@pytest.fixture(scope="module")
def uncertainty() -> FloatArray:
    return np.random.default_rng(0).gamma(2.0, 0.5, size=N)


@pytest.fixture(scope="module")
def residuals(uncertainty: FloatArray) -> FloatArray:
    return np.random.default_rng(1).normal(scale=np.sqrt(SLOPE * uncertainty + OFFSET))


def loss(fit: VarianceFit, uncertainty: FloatArray, residuals: FloatArray) -> float:
    return float(gaussian_log_loss(residuals, fit.std(uncertainty)).mean())


def test_slope_and_offset_of_a_known_variance_are_found(
    uncertainty: FloatArray, residuals: FloatArray
) -> None:
    fit = fit_variance(uncertainty, residuals)
    # Standard errors from the Fisher information 1/2 sum x x^T / variance^2, x = (u, 1).
    variance = SLOPE * uncertainty + OFFSET
    design = np.stack([uncertainty, np.ones(N)]) / variance
    errors = np.sqrt(np.diag(np.linalg.inv(0.5 * design @ design.T)))
    assert abs(fit.slope - SLOPE) < 5.0 * errors[0]
    assert abs(fit.offset - OFFSET) < 5.0 * errors[1]


def test_no_point_of_a_grid_is_better(uncertainty: FloatArray, residuals: FloatArray) -> None:
    found = loss(fit_variance(uncertainty, residuals), uncertainty, residuals)
    grid = [
        loss(VarianceFit(slope, offset, 0.0), uncertainty, residuals)
        for slope in np.linspace(3.0, 5.0, 21)
        for offset in np.linspace(0.05, 0.6, 21)
    ]
    assert found <= min(grid)


def test_a_constant_uncertainty_gives_the_gaussian_of_the_mean_square(
    residuals: FloatArray,
) -> None:
    expected = 0.5 * (1.0 + np.log(2.0 * np.pi * np.mean(residuals**2)))
    for constant in (0.0, 3.0):
        uncertainty = np.full(N, constant)
        found = loss(fit_variance(uncertainty, residuals), uncertainty, residuals)
        assert found == pytest.approx(expected, abs=OPTIMISER)


def test_an_uncertainty_that_says_nothing_gets_no_slope(residuals: FloatArray) -> None:
    # Where the squared residual falls with u, the best slope that is not negative is zero.
    fit = fit_variance(1.0 / (residuals**2 + 1.0), residuals)
    share = fit.slope * np.mean(1.0 / (residuals**2 + 1.0)) / np.mean(residuals**2)
    assert share < OPTIMISER


def test_the_loss_depends_on_no_scale(uncertainty: FloatArray, residuals: FloatArray) -> None:
    here = loss(fit_variance(uncertainty, residuals), uncertainty, residuals)
    scaled = 1e-3 * uncertainty
    assert loss(fit_variance(scaled, residuals), scaled, residuals) == pytest.approx(
        here, abs=OPTIMISER
    )


def test_a_log_density_counts_from_its_smallest(
    uncertainty: FloatArray, residuals: FloatArray
) -> None:
    below = uncertainty - 7.0
    fit = fit_variance(below, residuals)
    assert fit.origin == below.min()
    assert fit.std(np.array([-100.0]))[0] == fit.std(np.array([below.min()]))[0]
    assert loss(fit, below, residuals) == pytest.approx(
        loss(fit_variance(uncertainty, residuals), uncertainty, residuals), abs=OPTIMISER
    )


def test_each_half_is_judged_by_the_other() -> None:
    """One frame errs, one does not: the fit on the calm one is no excuse for the other."""
    residuals = np.array([1.0, -1.0, 10.0, -10.0])
    frame = np.array([0, 0, 1, 1])
    found = calibrated_log_loss(np.ones(4), residuals, frame, seed=0)
    expected = gaussian_log_loss(residuals, np.array([10.0, 10.0, 1.0, 1.0]))
    np.testing.assert_allclose(found, expected, rtol=OPTIMISER)


def test_what_cannot_be_fitted_is_named() -> None:
    with pytest.raises(ValueError, match="at least two frames, got 1"):
        calibrated_log_loss(np.ones(3), np.ones(3), np.zeros(3, dtype=np.int64), seed=0)
    with pytest.raises(ValueError, match="a residual other than zero"):
        fit_variance(np.ones(3), np.zeros(3))
