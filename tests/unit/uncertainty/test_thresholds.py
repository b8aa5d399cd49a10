"""A threshold is where the stated error can no longer be promised."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from posterion.uncertainty.calibration import ErrorTarget, SampleCountCalibration
from posterion.uncertainty.fitting import fit_calibration
from posterion.uncertainty.held_out import HeldOut
from posterion.uncertainty.thresholds import (
    FAILED_MULTIPLE,
    MetricErrors,
    fit_threshold,
    flagged,
    measured_threshold,
    metric_errors,
)
from tests.support.gaussian_bank import gaussian_held_out

N = 4000
SCALE = 3.0


def proportional(n: int = N, *, seed: int = 0) -> MetricErrors:
    """Errors that are normal with a standard deviation of SCALE times the metric."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.5, 2.0, size=n)
    return MetricErrors(values, np.abs(rng.normal(scale=SCALE * values)))


def fitted(held_out: HeldOut, target: ErrorTarget) -> SampleCountCalibration:
    calibration = fit_calibration(
        held_out, target=target, dataset_digest=f"sha256:{'a' * 64}", date="2026-01-01"
    )
    return calibration.entries[-1]


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95])
def test_proportional_errors_reach_the_target_where_they_should(confidence: float) -> None:
    z = float(norm.ppf(0.5 + 0.5 * confidence))
    target = ErrorTarget(force_error=0.1, confidence=confidence)
    threshold = fit_threshold("force_epistemic_max", proportional(), target)
    assert threshold is not None
    # Standard error of a quantile of |z|: sqrt(c (1 - c) / n) / (2 phi(z)); five of them.
    error = 5 * np.sqrt(confidence * (1 - confidence) / N) / (2 * norm.pdf(z) * z)
    assert threshold.candidate == pytest.approx(0.1 / (SCALE * z), rel=error)
    assert threshold.failed == FAILED_MULTIPLE * threshold.candidate
    assert threshold.error_per_unit == pytest.approx(0.1 / threshold.candidate)


def test_new_errors_of_what_passes_are_as_rare_as_promised() -> None:
    """Errors grow with the metric, so below the threshold they are rarer still."""
    target = ErrorTarget(force_error=SCALE * 2.0)
    threshold = fit_threshold("force_epistemic_max", proportional(), target)
    assert threshold is not None
    # |z| stays below 2 / m in 95 % for m = 1.02; the isotonic rate finds the same place.
    assert threshold.candidate == pytest.approx(2.0 / 1.96, rel=0.15)
    fresh = measured_threshold(threshold, proportional(seed=1))
    assert fresh.error_coverage is not None
    assert 0.95 < fresh.error_coverage < 1.0
    assert fresh.candidate_coverage == pytest.approx((threshold.candidate - 0.5) / 1.5, abs=0.03)


def uninformative(n: int = N, *, seed: int = 0) -> MetricErrors:
    """Errors that the metric knows nothing of: half of all metrics are next to zero."""
    rng = np.random.default_rng(seed)
    values = np.where(np.arange(n) % 2 == 0, 1e-3, rng.uniform(0.5, 2.0, size=n))
    return MetricErrors(values, np.abs(rng.normal(scale=0.1, size=n)))


def test_frames_that_never_err_so_much_are_not_flagged_for_their_ratio() -> None:
    threshold = fit_threshold("force_epistemic_max", uninformative(), ErrorTarget(force_error=0.3))
    assert threshold is not None
    # |z| > 3 is rarer than 5 %, whatever the metric: all but the outermost frames pass.
    assert threshold.candidate_coverage == pytest.approx(0.98, abs=0.002)
    assert threshold.error_per_unit == pytest.approx(0.3 / threshold.candidate)
    fresh = measured_threshold(threshold, uninformative(seed=1))
    assert fresh.error_coverage == pytest.approx(0.9973, abs=0.004)


def test_the_order_of_frames_with_the_same_metric_does_not_matter() -> None:
    values, harmless = np.ones(100), np.arange(100) < 50
    target = ErrorTarget(force_error=0.3)
    one, other = (
        fit_threshold("force_epistemic_max", MetricErrors(values, errors), target)
        for errors in (np.where(harmless, 0.1, 0.4), np.where(harmless, 0.4, 0.1))
    )
    assert one == other
    assert one is not None
    assert one.candidate == pytest.approx(0.3 / 0.4)


def test_where_errors_are_common_the_frames_are_no_evidence() -> None:
    """|z| > 1 in 32 % of all frames: only the proportional bound is left."""
    of = uninformative()
    threshold = fit_threshold("force_epistemic_max", of, ErrorTarget(force_error=0.1))
    assert threshold is not None
    assert threshold.candidate < 1e-3


@given(st.floats(1.0, 100.0))
def test_a_laxer_target_has_a_larger_threshold(factor: float) -> None:
    """In proportion where no calibration frame meets the target, as for the smaller one here."""
    errors = proportional(50)
    one, other = (
        fit_threshold("force_epistemic_max", errors, ErrorTarget(force_error=1e-3 * f))
        for f in (1.0, factor)
    )
    assert one is not None
    assert other is not None
    assert other.candidate >= factor * one.candidate * (1.0 - 1e-9)
    if factor * 1e-3 < errors.errors.min():
        assert other.candidate == pytest.approx(factor * one.candidate)


def test_each_metric_has_the_target_of_what_it_warns_of() -> None:
    target = ErrorTarget(force_error=0.1, energy_error=0.003)
    errors = proportional(50)
    wanted = {"force_epistemic_max": 0.1, "latent_score_max": 0.1, "energy_epistemic": 0.003}
    for metric in ("force_epistemic_max", "latent_score_max", "energy_epistemic"):
        threshold = fit_threshold(metric, errors, target)
        assert threshold is not None
        assert threshold.error_per_unit is not None
        assert threshold.candidate * threshold.error_per_unit == pytest.approx(wanted[metric])
        assert threshold.per == ("atom" if metric == "energy_epistemic" else "structure")


def test_a_spread_that_bounds_nothing_gives_no_threshold() -> None:
    values, errors = proportional(40)
    silent = np.where(np.arange(40) < 4, 0.0, values)  # a tenth of the frames errs unannounced
    assert fit_threshold("force_epistemic_max", MetricErrors(silent, errors), ErrorTarget()) is None
    none = MetricErrors(np.zeros(40), errors)
    assert fit_threshold("force_epistemic_max", none, ErrorTarget()) is None
    few = MetricErrors(np.where(np.arange(40) < 1, 0.0, values), errors)
    assert fit_threshold("force_epistemic_max", few, ErrorTarget()) is not None


def test_the_latent_score_is_judged_by_the_force_error() -> None:
    held_out = gaussian_held_out(200, factor=1.0)
    errors = held_out.force_errors(held_out.n_samples)
    # Scores that are the errors themselves, in other units: every ratio is 1/40.
    entry = fitted(replace(held_out, latent_scores=40.0 * errors), ErrorTarget(force_error=0.2))
    assert entry.latent_score_max is not None
    assert entry.latent_score_max.candidate == pytest.approx(8.0)
    assert entry.latent_score_max.unit == "nat"


def test_a_frame_is_flagged_by_any_of_its_metrics() -> None:
    held_out = gaussian_held_out(200, factor=1.0)
    scores = np.ones(len(held_out.force_reference))
    entry = fitted(
        replace(held_out, latent_scores=scores), ErrorTarget(force_error=10.0, energy_error=10.0)
    )
    assert entry.latent_score_max is not None
    assert not flagged(replace(held_out, latent_scores=scores), entry).any()
    scores[7] = 2.0 * entry.latent_score_max.candidate  # an atom of the second frame
    found = flagged(replace(held_out, latent_scores=scores), entry)
    np.testing.assert_array_equal(np.flatnonzero(found), [1])


def halfway(held_out: HeldOut) -> ErrorTarget:
    """The target that flags half of the frames by their forces, and few by their energies."""
    entry = fitted(held_out, ErrorTarget())
    threshold = entry.force_epistemic_max
    assert threshold is not None
    assert threshold.error_per_unit is not None
    values = metric_errors(held_out, entry)["force_epistemic_max"].values
    return ErrorTarget(
        force_error=threshold.error_per_unit * float(np.median(values)), energy_error=0.5
    )


@pytest.mark.parametrize("noise", [0.1, 1.0, 30.0])
def test_aleatoric_noise_changes_no_flag(noise: float) -> None:
    """Not as a metric, and not through the factor that it shares with the spread."""
    held_out = gaussian_held_out(300, factor=1.0)
    target = halfway(held_out)
    plain = flagged(held_out, fitted(held_out, target))
    assert 100 < plain.sum() < 250
    noisy = replace(
        held_out,
        force_std=noise * held_out.force_std,
        energy_std=noise * held_out.energy_std,
    )
    np.testing.assert_array_equal(flagged(noisy, fitted(noisy, target)), plain)
