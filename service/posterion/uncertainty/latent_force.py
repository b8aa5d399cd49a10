"""How the score of the latent density becomes the epistemic part of a single network's force.

The method of Tan, Dietschreit and Gomez-Bombarelli (J. Chem. Phys. 162, 2025): split conformal
prediction on held-out frames scales the score of an atom to a bound on its force error. A
Gaussian error with the same standard deviation in all three directions has a norm that follows
the chi distribution of three degrees of freedom, so the bound divided by that quantile is the
standard deviation of a component.
"""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi

from posterion.uncertainty.conformal import conformal_bound
from posterion.uncertainty.held_out import HeldOut

FloatArray = NDArray[np.float64]

LEVEL: Final = 0.95


def fit_latent_force_scale(held_out: HeldOut) -> float:
    """Find the standard deviation per nat of score that bounds 95 % of the atoms' errors.

    Args:
        held_out: Predictions for frames that were not trained on, with latent scores.

    Returns:
        eV/Angstrom per nat.

    Raises:
        ValueError: If the frames have no latent scores.
    """
    scores = _scores(held_out)
    errors = held_out.force_errors(held_out.n_samples)
    bound = conformal_bound(errors / scores, level=LEVEL)
    return bound.value / float(chi(3).ppf(LEVEL))


def latent_force_std(scores: FloatArray, scale: float) -> FloatArray:
    """Epistemic standard deviation of each component, shape ``(n_atoms,)``, eV/Angstrom."""
    std: FloatArray = scale * scores
    return std


def with_latent_epistemic(held_out: HeldOut, scale: float) -> HeldOut:
    """The same predictions with the score as every sample's own epistemic part.

    Args:
        held_out: With latent scores.
        scale: From `fit_latent_force_scale`.

    Returns:
        What a bank whose calibration has this ``latent_force_scale`` answers.

    Raises:
        ValueError: If the frames have no latent scores.
    """
    std = latent_force_std(_scores(held_out), scale)
    own = np.broadcast_to(std, (held_out.n_samples, std.size)).copy()
    return replace(held_out, force_epistemic_std=own)


def _scores(held_out: HeldOut) -> FloatArray:
    if held_out.latent_scores is None:
        raise ValueError("held_out needs the scores of a latent density, it has none")
    return held_out.latent_scores
