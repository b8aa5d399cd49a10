"""How the score of the latent density becomes an epistemic part of the forces.

The method of Tan, Dietschreit and Gomez-Bombarelli (J. Chem. Phys. 162, 2025): split conformal
prediction on held-out frames scales the score of an atom to a bound on its force error. A
Gaussian error with the same standard deviation in all three directions has a norm that follows
the chi distribution of three degrees of freedom, so the bound divided by that quantile is the
standard deviation of a component.

A single network has no other epistemic part. Samples that disagree have one; but far from the
data they agree too well, since all of them extrapolate the same functions. There the score adds
to their variance: what its square exceeds that of an ordinary structure's rarest atom.
"""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi

from posterion.uncertainty.calibration import LatentForce
from posterion.uncertainty.conformal import conformal_bound
from posterion.uncertainty.held_out import HeldOut
from posterion.uncertainty.latent_density import score_of_structures

FloatArray = NDArray[np.float64]

LEVEL: Final = 0.95
"""Of the atoms whose errors the score bounds."""

ORDINARY: Final = 0.5
"""Of the structures that lie below the onset with all their atoms."""


def fit_latent_force(held_out: HeldOut, *, beyond_training: bool) -> LatentForce:
    """Find the standard deviation per nat of score that bounds 95 % of the atoms' errors.

    Args:
        held_out: Predictions for frames that were not trained on, with latent scores.
        beyond_training: Whether only what exceeds the largest score of half of these frames
            counts.

    Returns:
        The rule.

    Raises:
        ValueError: If the frames have no latent scores.
    """
    scores = _scores(held_out)
    errors = held_out.force_errors(held_out.n_samples)
    bound = conformal_bound(errors / scores, level=LEVEL)
    return LatentForce(
        scale=bound.value / float(chi(3).ppf(LEVEL)),
        onset=_onset(held_out, scores) if beyond_training else 0.0,
        excess="square",
    )


def _onset(held_out: HeldOut, scores: FloatArray) -> float:
    largest = score_of_structures(scores, held_out.n_atoms, by="max")
    return float(np.quantile(largest, ORDINARY))


def latent_force_std(scores: FloatArray, rule: LatentForce) -> FloatArray:
    """Epistemic standard deviation of each component, shape ``(n_atoms,)``, eV/Angstrom."""
    if rule.excess is None:
        beyond = np.maximum(scores - rule.onset, 0.0)
    else:
        beyond = np.sqrt(np.maximum(scores**2 - rule.onset**2, 0.0))
    std: FloatArray = rule.scale * beyond
    return std


def latent_force_variance_slope(scores: FloatArray, rule: LatentForce) -> FloatArray:
    """Derivative of the square of `latent_force_std` by the score of each atom.

    Args:
        scores: Shape ``(n_atoms,)``, nats.
        rule: Of the calibration.

    Returns:
        Shape ``(n_atoms,)``, (eV/Angstrom)^2 per nat. At the onset, where the variance of a
        ``square`` rule has a kink, the derivative from below, which is zero.
    """
    counted = scores if rule.excess == "square" else scores - rule.onset
    slope: FloatArray = 2.0 * rule.scale**2 * np.where(scores > rule.onset, counted, 0.0)
    return slope


def with_latent_epistemic(held_out: HeldOut, rule: LatentForce) -> HeldOut:
    """The same predictions with an epistemic part of every sample from the score.

    Args:
        held_out: With latent scores.
        rule: From `fit_latent_force`.

    Returns:
        What a bank whose calibration has this ``latent_force`` answers.

    Raises:
        ValueError: If the frames have no latent scores.
    """
    std = latent_force_std(_scores(held_out), rule)
    own = np.broadcast_to(std, (held_out.n_samples, std.size)).copy()
    return replace(held_out, force_epistemic_std=own)


def _scores(held_out: HeldOut) -> FloatArray:
    if held_out.latent_scores is None:
        raise ValueError("held_out needs the scores of a latent density, it has none")
    return held_out.latent_scores
