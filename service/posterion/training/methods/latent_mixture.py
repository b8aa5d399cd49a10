"""Latent mixture: one network that knows least where its final scalars are rarest.

The mixture is the latent density that every bank has (`posterion.uncertainty.latent_density`);
here its score, conformally scaled, is the epistemic part itself (Tan, Dietschreit and
Gomez-Bombarelli, J. Chem. Phys. 162, 2025).
"""

from dataclasses import dataclass

from posterion.training.methods.optimized import OptimizedNetworks


@dataclass(frozen=True, slots=True)
class LatentMixture(OptimizedNetworks):
    """One network, judged by the density of its training atoms; see `Method`."""

    @property
    def latent_epistemic(self) -> bool:
        """See `Method`."""
        return True

    @property
    def meaning(self) -> str:
        """See `Method`."""
        return (
            "One network and the density of its final scalars in training. The epistemic part of "
            "a force is the rarity of the atom's scalars, conformally scaled; the energy has none."
        )
