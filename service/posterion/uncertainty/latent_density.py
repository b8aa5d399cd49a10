"""How common an atom's environment was in training, judged by the network's final scalars.

One Gaussian mixture per element describes the scalars z_i of the training atoms. The score of
an atom is its negative log density above the best that training atoms of its element reach.
Far from the data it grows with the squared distance, also where all samples agree with each
other and are wrong together. The density is of one posterior sample: the scalars of different
samples are not aligned.

The score follows Tan, Dietschreit and Gomez-Bombarelli, J. Chem. Phys. 162 (2025), except that
it has a floor: with the zero at the smallest density seen, some score is exactly zero there,
and a ratio of error and score is infinite.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FLOOR: Final = 1.0
"""Smallest score, nats: one nat below the best training atom is no difference."""

ATOMS_AT_ONCE: Final = 4096
"""Atoms whose distances to all components are in memory together."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ElementMixture:
    """The mixture of one element, or of rare elements that share one.

    Attributes:
        elements: Atomic numbers it describes.
        log_weights: Logarithm of each component's weight and of its Gaussian's height, shape
            ``(n_components,)``.
        means: Shape ``(n_components, n_features)``.
        whitening: ``(z - mean) @ whitening`` has unit covariance in its component, shape
            ``(n_components, n_features, n_features)``.
        zero: Smallest negative log density of a training atom, nats.
    """

    elements: tuple[int, ...]
    log_weights: FloatArray
    means: FloatArray
    whitening: FloatArray
    zero: float

    def negative_log_density(self, latent: FloatArray) -> FloatArray:
        """Of final scalars, shape ``(n_atoms, n_features)``, in nats, shape ``(n_atoms,)``."""
        log_densities = self._log_densities(self._white(latent))
        # Written out: for a few atoms scipy's logsumexp takes longer than all the rest.
        largest = log_densities.max(axis=0)
        density: FloatArray = largest + np.log(np.exp(log_densities - largest).sum(axis=0))
        return -density

    def slopes(self, latent: FloatArray) -> FloatArray:
        """Derivatives of ``negative_log_density`` by the scalars, ``(n_atoms, n_features)``."""
        white = self._white(latent)
        log_densities = self._log_densities(white)
        shares = np.exp(log_densities - log_densities.max(axis=0))
        shares /= shares.sum(axis=0)
        slopes: FloatArray = np.einsum("ca,cag,cfg->af", shares, white, self.whitening)
        return slopes

    def _white(self, latent: FloatArray) -> FloatArray:
        """Distances to every component, shape ``(n_components, n_atoms, n_features)``."""
        white: FloatArray = np.matmul(latent[None], self.whitening)
        white -= self._shifts
        return white

    @cached_property
    def _shifts(self) -> FloatArray:
        """What every component's mean becomes, shape ``(n_components, 1, n_features)``."""
        shifts: FloatArray = np.einsum("cf,cfg->cg", self.means, self.whitening)[:, None, :]
        return shifts

    def _log_densities(self, white: FloatArray) -> FloatArray:
        squared = np.einsum("caf,caf->ca", white, white)
        log_densities: FloatArray = self.log_weights[:, None] - 0.5 * squared
        return log_densities


@dataclass(frozen=True, kw_only=True, eq=False)
class LatentDensity:
    """The mixtures of all elements of a bank.

    Attributes:
        mixtures: Together they describe every element exactly once.
    """

    mixtures: tuple[ElementMixture, ...]

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that have a density, ascending."""
        return tuple(sorted(z for mixture in self.mixtures for z in mixture.elements))

    @property
    def n_features(self) -> int:
        """Number of final scalars of an atom."""
        return int(self.mixtures[0].means.shape[1])

    def scores(self, atomic_numbers: IntArray, latent: FloatArray) -> FloatArray:
        """Score every atom.

        Args:
            atomic_numbers: Shape ``(n_atoms,)``, of known elements.
            latent: Final scalars of the sample that the density is of, shape
                ``(n_atoms, n_features)``.

        Returns:
            Nats, shape ``(n_atoms,)``, at least `FLOOR`.
        """
        scores = np.full(len(atomic_numbers), np.nan)
        for mixture, atoms in self._parts(atomic_numbers):
            density = mixture.negative_log_density(latent[atoms])
            scores[atoms] = np.fmax(density - mixture.zero, FLOOR)
        return scores

    def slopes(self, atomic_numbers: IntArray, latent: FloatArray) -> FloatArray:
        """Derivatives of the score of every atom by its final scalars.

        Args:
            atomic_numbers: As of `scores`.
            latent: As of `scores`.

        Returns:
            Nats, shape ``(n_atoms, n_features)``; zero where the score is `FLOOR`.
        """
        slopes = np.full_like(latent, np.nan)
        for mixture, atoms in self._parts(atomic_numbers):
            density = mixture.negative_log_density(latent[atoms])
            above = density - mixture.zero > FLOOR
            slopes[atoms] = above[:, None] * mixture.slopes(latent[atoms])
        return slopes

    def _parts(self, atomic_numbers: IntArray) -> Iterator[tuple[ElementMixture, IntArray]]:
        """The atoms of every mixture, so many at once as memory should hold."""
        owners = self._owner[atomic_numbers]
        for index, mixture in enumerate(self.mixtures):
            (mine,) = (owners == index).nonzero()
            for start in range(0, mine.size, ATOMS_AT_ONCE):
                yield mixture, mine[start : start + ATOMS_AT_ONCE]

    @cached_property
    def _owner(self) -> IntArray:
        """Which mixture describes each atomic number; -1 = none. Shape ``(119,)``."""
        owner = np.full(119, -1)
        for index, mixture in enumerate(self.mixtures):
            owner[list(mixture.elements)] = index
        return owner


def score_of_structures(
    scores: FloatArray, n_atoms: IntArray, *, by: Literal["max", "mean"]
) -> FloatArray:
    """Largest or mean score of each structure.

    Args:
        scores: Of all atoms, shape ``(n,)``.
        n_atoms: Atoms of each structure, shape ``(n_structures,)``, summing to ``n``.
        by: A single strange atom decides, or all of them.

    Returns:
        Nats, shape ``(n_structures,)``.
    """
    starts = np.concatenate(([0], np.cumsum(n_atoms)[:-1]))
    if by == "max":
        largest: FloatArray = np.maximum.reduceat(scores, starts)
        return largest
    mean: FloatArray = np.add.reduceat(scores, starts) / n_atoms
    return mean
