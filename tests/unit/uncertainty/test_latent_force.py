"""Scaled to the errors of held-out frames, a score is a standard deviation."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from posterion.uncertainty.calibration import LatentForce
from posterion.uncertainty.held_out import HeldOut
from posterion.uncertainty.latent_force import (
    fit_latent_force,
    latent_force_std,
    latent_force_variance_slope,
    with_latent_epistemic,
)
from tests.support.gaussian_bank import gaussian_held_out

SCALE = 0.02
RULE = LatentForce(scale=SCALE)


def scored(n_structures: int) -> HeldOut:
    """One sample whose errors have a standard deviation of SCALE times the score."""
    several = gaussian_held_out(n_structures, factor=1.0)
    rng = np.random.default_rng(1)
    forces = several.forces[:1]
    scores: NDArray[np.float64] = rng.uniform(1.0, 20.0, size=(forces.shape[1],))
    return replace(
        several,
        energies=several.energies[:1],
        forces=forces,
        force_std=several.force_std[:1],
        force_reference=forces[0]
        + rng.normal(scale=SCALE * scores[:, None], size=(scores.size, 3)),
        latent_scores=scores,
    )


def test_the_scale_of_normal_errors_is_found() -> None:
    # Standard error of the 95 % quantile q of chi(3) over n atoms: sqrt(0.95 x 0.05 / n) / pdf(q)
    # with q = 2.795 and pdf(q) = 0.125: relative 0.62 / sqrt(n). Five of them, n = 4000.
    rule = fit_latent_force(scored(800), beyond_training=False)
    assert rule.scale == pytest.approx(SCALE, rel=5 * 0.62 / np.sqrt(4000))
    assert rule.onset == 0.0


def test_the_scaled_score_is_the_epistemic_part_of_the_only_sample() -> None:
    held_out = with_latent_epistemic(scored(20), RULE)
    assert held_out.latent_scores is not None
    std = latent_force_std(held_out.latent_scores, RULE)
    np.testing.assert_allclose(
        held_out.force_moments(1).epistemic.numpy(), np.repeat(std[:, None] ** 2, 3, axis=1)
    )


def test_frames_without_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="scores of a latent density"):
        fit_latent_force(gaussian_held_out(20, factor=1.0), beyond_training=True)


def test_beyond_training_ordinary_atoms_keep_their_spread_and_rare_ones_lose_confidence() -> None:
    several = gaussian_held_out(400, factor=1.0)
    rng = np.random.default_rng(4)
    scores = rng.uniform(1.0, 20.0, size=len(several.force_reference))
    rule = fit_latent_force(replace(several, latent_scores=scores), beyond_training=True)
    largest = several.largest_per_structure(scores)
    assert np.mean(largest <= rule.onset) == pytest.approx(0.5, abs=1.0 / len(largest))
    scores[0] = rule.onset + 100.0
    widened = with_latent_epistemic(replace(several, latent_scores=scores), rule)
    before = several.force_moments(several.n_samples).epistemic.numpy()
    after = widened.force_moments(several.n_samples).epistemic.numpy()
    ordinary = scores <= rule.onset
    np.testing.assert_allclose(after[ordinary], before[ordinary])
    beyond = scores[0] ** 2 - rule.onset**2
    np.testing.assert_allclose(after[0] - before[0], beyond * rule.scale**2)


def test_rules_of_older_banks_keep_their_meaning() -> None:
    rule = LatentForce.model_validate({"scale": SCALE, "onset": 3.0})
    found = latent_force_std(np.array([1.0, 3.0, 5.0]), rule)
    np.testing.assert_allclose(found, [0.0, 0.0, 2.0 * SCALE])
    # What an older version did not know is no part of a calibration's identity.
    assert rule.model_dump(exclude_none=True) == {"scale": SCALE, "onset": 3.0}


@pytest.mark.parametrize(
    "rule",
    [
        RULE,
        LatentForce(scale=SCALE, onset=3.0),
        LatentForce(scale=SCALE, onset=3.0, excess="square"),
    ],
)
def test_the_slope_of_the_variance_is_its_derivative_and_zero_up_to_the_onset(
    rule: LatentForce,
) -> None:
    scores, step = np.linspace(1.0, 9.0, 12), 1e-6
    above, below = (latent_force_std(scores + way * step, rule) ** 2 for way in (1.0, -1.0))
    slope = latent_force_variance_slope(scores, rule)
    np.testing.assert_allclose(slope, (above - below) / (2.0 * step), rtol=1e-6, atol=1e-12)
    assert latent_force_variance_slope(np.array([rule.onset]), rule) == 0.0
