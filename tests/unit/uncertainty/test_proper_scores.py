"""Proper scores agree with quadrature and with each other where they must."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.stats import norm

from posterion.uncertainty.proper_scores import (
    gaussian_crps,
    gaussian_log_loss,
    mixture_crps,
    mixture_log_loss,
)

Score = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]

ROUNDING = 1e-12
QUADRATURE = 1e-8

# Three samples, two values; the second component of the second value is far off and sharp.
MEANS = np.array([[0.1, -1.0], [0.5, 3.0], [-0.4, 0.2]])
STD = np.array([[0.3, 1.0], [0.2, 0.05], [0.9, 0.4]])
REFERENCE = np.array([0.25, 0.1])


def crps_by_quadrature(means: NDArray[np.float64], std: NDArray[np.float64], y: float) -> float:
    """The defining integral of (F(x) - [y <= x])^2, cut at the reference."""

    def below(x: float) -> float:
        return float(np.mean(norm.cdf(x, means, std)) ** 2)

    def above(x: float) -> float:
        return float((1.0 - np.mean(norm.cdf(x, means, std))) ** 2)

    points = sorted(means.tolist())
    left, _ = quad(below, -40.0, y, points=[x for x in points if x < y], limit=200)
    right, _ = quad(above, y, 40.0, points=[x for x in points if x > y], limit=200)
    return float(left + right)


def test_log_loss_is_that_of_the_gaussian() -> None:
    loss = gaussian_log_loss(MEANS - REFERENCE, STD)
    np.testing.assert_allclose(loss, -norm.logpdf(REFERENCE, MEANS, STD), atol=ROUNDING)


def test_mixture_log_loss_is_that_of_the_mean_density() -> None:
    density = norm.pdf(REFERENCE, MEANS, STD).mean(axis=0)
    np.testing.assert_allclose(
        mixture_log_loss(MEANS - REFERENCE, STD), -np.log(density), atol=ROUNDING
    )


def test_mixture_log_loss_survives_where_every_density_underflows() -> None:
    residuals, std = np.array([[100.0], [200.0]]), np.ones((2, 1))
    # The farther sample is e^-15000 times as likely: the nearer one halved is the mixture.
    expected = 0.5 * 100.0**2 + 0.5 * np.log(2.0 * np.pi) + np.log(2.0)
    np.testing.assert_allclose(mixture_log_loss(residuals, std), [expected], rtol=ROUNDING)


def test_gaussian_crps_is_the_defining_integral() -> None:
    score = gaussian_crps(MEANS[0] - REFERENCE, STD[0])
    expected = [
        crps_by_quadrature(MEANS[0, i : i + 1], STD[0, i : i + 1], REFERENCE[i]) for i in (0, 1)
    ]
    np.testing.assert_allclose(score, expected, atol=QUADRATURE)


def test_gaussian_crps_at_the_mean_is_known() -> None:
    score = gaussian_crps(np.zeros(1), np.array([2.0]))
    np.testing.assert_allclose(score, 2.0 * (np.sqrt(2.0) - 1.0) / np.sqrt(np.pi), rtol=ROUNDING)


def test_crps_of_a_sharp_prediction_is_the_absolute_error() -> None:
    np.testing.assert_allclose(
        gaussian_crps(np.array([-0.7]), np.array([1e-14])), [0.7], rtol=ROUNDING
    )


def test_mixture_crps_is_the_defining_integral() -> None:
    expected = [crps_by_quadrature(MEANS[:, i], STD[:, i], REFERENCE[i]) for i in (0, 1)]
    np.testing.assert_allclose(mixture_crps(MEANS - REFERENCE, STD), expected, atol=QUADRATURE)


@pytest.mark.parametrize(
    ("mixture", "gaussian"),
    [(mixture_log_loss, gaussian_log_loss), (mixture_crps, gaussian_crps)],
    ids=["log", "crps"],
)
def test_a_mixture_of_equal_samples_is_one_gaussian(mixture: Score, gaussian: Score) -> None:
    residuals, std = MEANS[:1] - REFERENCE, STD[:1]
    for n_samples in (1, 4):
        np.testing.assert_allclose(
            mixture(np.repeat(residuals, n_samples, axis=0), np.repeat(std, n_samples, axis=0)),
            gaussian(residuals[0], std[0]),
            atol=ROUNDING,
        )


def test_mixture_scores_do_not_depend_on_sample_order() -> None:
    residuals = MEANS - REFERENCE
    for score in (mixture_log_loss, mixture_crps):
        np.testing.assert_allclose(
            score(residuals[::-1], STD[::-1]), score(residuals, STD), atol=ROUNDING
        )


def test_crps_scales_with_the_unit() -> None:
    residuals = MEANS - REFERENCE
    np.testing.assert_allclose(
        mixture_crps(1e3 * residuals, 1e3 * STD), 1e3 * mixture_crps(residuals, STD), rtol=ROUNDING
    )


def test_the_true_mixture_is_preferred_to_its_moments() -> None:
    """Strict propriety: two separate humps score better as humps than as one Gaussian."""
    rng = np.random.default_rng(0)
    centres, width = np.array([-1.0, 1.0]), 0.2
    y = rng.choice(centres, size=4000) + rng.normal(scale=width, size=4000)
    residuals = centres[:, None] - y
    std = np.full(residuals.shape, width)
    moments = np.full(y.shape, np.hypot(1.0, width))
    assert mixture_log_loss(residuals, std).mean() < gaussian_log_loss(-y, moments).mean() - 0.5
    assert mixture_crps(residuals, std).mean() < gaussian_crps(-y, moments).mean()


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"one shape, got \(2,\) and \(3,\)"):
        gaussian_crps(np.zeros(2), np.ones(3))
    with pytest.raises(ValueError, match="std must be positive, the smallest is 0"):
        mixture_crps(np.zeros((2, 1)), np.array([[1.0], [0.0]]))
    with pytest.raises(ValueError, match="at least one residual"):
        mixture_log_loss(np.zeros((0, 3)), np.zeros((0, 3)))
