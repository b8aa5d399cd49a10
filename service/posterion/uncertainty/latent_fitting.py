"""Which mixtures describe the final scalars of the training atoms.

Expectation maximisation and the criterion are scikit-learn's. Scalars are standardised for
the fit, so that the regularisation means the same for every feature.
"""

import warnings
from collections.abc import Sequence
from typing import Final

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from posterion.uncertainty.latent_density import (
    ElementMixture,
    FloatArray,
    IntArray,
    LatentDensity,
)

COMPONENTS: Final = (1, 2, 4, 8, 16)
"""Numbers of components tried, in this order, until the criterion rises."""

ATOMS_PER_FEATURE: Final = 10
"""Training atoms per feature from which an element has a mixture of its own."""

MOST_ATOMS: Final = 4000
"""Atoms of one mixture that are fitted; more change the density little."""

REGULARISATION: Final = 1e-4
"""Added to each variance of the standardised scalars."""

MOST_ITERATIONS: Final = 200
SMALLEST_SPREAD: Final = 1e-3
"""Smallest standard deviation of a feature, as a fraction of the largest: a feature that
is constant in training must not decide alone."""


def fit_latent_density(
    atomic_numbers: IntArray, latent: FloatArray, *, elements: Sequence[int]
) -> LatentDensity:
    """Fit one mixture per element; elements with few atoms share one.

    Args:
        atomic_numbers: Of the training atoms, shape ``(n,)``.
        latent: Their final scalars, of one posterior sample, shape ``(n, n_features)``.
        elements: Atomic numbers that the density must describe.

    Returns:
        The density. The same atoms give the same density bit by bit.

    Raises:
        ValueError: If there is no atom of the elements with few or no atoms.
    """
    needed = ATOMS_PER_FEATURE * latent.shape[1]
    counts = {z: int(np.count_nonzero(atomic_numbers == z)) for z in elements}
    groups: list[tuple[int, ...]] = [(z,) for z in elements if counts[z] >= needed]
    rare = tuple(z for z in elements if counts[z] < needed)
    if rare:
        groups.append(rare)
    mixtures = []
    for group in groups:
        mine = latent[np.isin(atomic_numbers, group)]
        if len(mine) < 2:
            raise ValueError(f"elements {group} have {len(mine)} training atoms, need two")
        mixtures.append(_fit(group, mine))
    return LatentDensity(mixtures=tuple(mixtures))


def _fit(elements: tuple[int, ...], latent: FloatArray) -> ElementMixture:
    chosen = np.random.default_rng(0).permutation(len(latent))[:MOST_ATOMS]
    atoms = latent[chosen].astype(np.float64)
    mean, spread = atoms.mean(axis=0), atoms.std(axis=0)
    # One environment alone has no spread at all.
    spread = np.fmax(spread, SMALLEST_SPREAD * spread.max()) if spread.max() > 0.0 else spread + 1.0
    mixture = _fewest_components((atoms - mean) / spread)
    whitening = mixture.precisions_cholesky_ / spread[:, None]
    heights = np.log(np.abs(np.diagonal(whitening, axis1=1, axis2=2))).sum(axis=1)
    unshifted = ElementMixture(
        elements=elements,
        log_weights=np.log(mixture.weights_) + heights - 0.5 * atoms.shape[1] * np.log(2.0 * np.pi),
        means=mixture.means_ * spread + mean,
        whitening=whitening,
        zero=0.0,
    )
    return ElementMixture(
        elements=elements,
        log_weights=unshifted.log_weights,
        means=unshifted.means,
        whitening=whitening,
        zero=float(unshifted.negative_log_density(atoms).min()),
    )


def _fewest_components(atoms: FloatArray) -> GaussianMixture:
    """Add components until the Bayesian information criterion (Schwarz, 1978) rises."""
    best, lowest = None, np.inf
    for n_components in COMPONENTS:
        if n_components > 1 and len(atoms) < n_components * atoms.shape[1]:
            break
        mixture = GaussianMixture(
            n_components,
            covariance_type="full",
            reg_covar=REGULARISATION,
            max_iter=MOST_ITERATIONS,
            random_state=0,
        )
        with warnings.catch_warnings():
            # A fit cut short is a density all the same, and is judged like the others.
            warnings.simplefilter("ignore", ConvergenceWarning)
            criterion = float(mixture.fit(atoms).bic(atoms))
        if criterion >= lowest:
            break
        best, lowest = mixture, criterion
    assert best is not None
    return best
