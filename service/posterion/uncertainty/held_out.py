"""What the posterior samples said about structures whose reference is known.

The sample axis is kept, so that a calibration can be fitted for every number of samples.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from posterion.uncertainty.mixture import MixtureMoments, bank_moments

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOut:
    """Per-sample predictions and references of held-out structures, atoms concatenated.

    Attributes:
        n_atoms: Atoms of each structure, shape ``(n_structures,)``, summing to ``n``.
        energies: Shape ``(n_samples, n_structures)``, eV.
        energy_std: Aleatoric standard deviation, shape ``(n_structures,)``, eV.
        energy_reference: Shape ``(n_structures,)``, eV.
        forces: Shape ``(n_samples, n, 3)``, eV/Angstrom.
        force_std: Aleatoric standard deviation of each component as every sample predicts
            it, shape ``(n_samples, n)``, eV/Angstrom.
        force_reference: Shape ``(n, 3)``, eV/Angstrom.
        force_epistemic_std: Epistemic standard deviation of each component as every sample
            itself predicts it, shape of ``force_std``; None where samples predict none.
        latent_scores: Score of each atom by the latent density, shape ``(n,)``, nats; None
            where there is no density.
    """

    n_atoms: IntArray
    energies: FloatArray
    energy_std: FloatArray
    energy_reference: FloatArray
    forces: FloatArray
    force_std: FloatArray
    force_reference: FloatArray
    force_epistemic_std: FloatArray | None = None
    latent_scores: FloatArray | None = None

    def __post_init__(self) -> None:
        """Check the shapes against each other and that every number is finite."""
        n_samples, n_structures = self.energies.shape
        n = int(self.n_atoms.sum())
        expected: dict[str, tuple[int, ...]] = {
            "n_atoms": (n_structures,),
            "energy_std": (n_structures,),
            "energy_reference": (n_structures,),
            "forces": (n_samples, n, 3),
            "force_std": (n_samples, n),
            "force_reference": (n, 3),
        }
        if self.force_epistemic_std is not None:
            expected["force_epistemic_std"] = (n_samples, n)
        if self.latent_scores is not None:
            expected["latent_scores"] = (n,)
        for field, shape in expected.items():
            found = getattr(self, field).shape
            if found != shape:
                raise ValueError(f"{field} must have shape {shape}, got {found}")
        for field in (*expected, "energies"):
            if not np.all(np.isfinite(getattr(self, field))):
                raise ValueError(f"{field} holds a value that is not finite")

    @property
    def n_samples(self) -> int:
        """Number of posterior samples."""
        return int(self.energies.shape[0])

    @property
    def n_structures(self) -> int:
        """Number of held-out structures."""
        return int(self.energies.shape[1])

    def energy_moments(self, n_samples: int) -> MixtureMoments:
        """Moments of the energies over the first ``n_samples``, ``(n_structures,)``, eV."""
        means = torch.from_numpy(self.energies[:n_samples])
        variances = torch.from_numpy(self.energy_std**2).expand_as(means)
        return bank_moments(means, variances, epistemic=None)

    def force_moments(self, n_samples: int) -> MixtureMoments:
        """Moments of the forces over the first ``n_samples``, ``(n, 3)``, eV/Angstrom."""
        means = torch.from_numpy(self.forces[:n_samples])
        variances = torch.from_numpy(self.force_std[:n_samples] ** 2)
        own = None
        if self.force_epistemic_std is not None:
            own = torch.from_numpy(self.force_epistemic_std[:n_samples] ** 2)
            own = own[:, :, None].expand_as(means)
        return bank_moments(means, variances[:, :, None].expand_as(means), epistemic=own)

    def force_errors(self, n_samples: int) -> FloatArray:
        """Length of each atom's force error vector, ``(n,)``, eV/Angstrom."""
        errors = self.forces[:n_samples].mean(axis=0) - self.force_reference
        per_atom: FloatArray = np.linalg.norm(errors, axis=1)
        return per_atom

    def largest_per_structure(self, per_atom: FloatArray) -> FloatArray:
        """Largest entry of an ``(n,)`` array within each structure, ``(n_structures,)``."""
        starts = np.concatenate(([0], np.cumsum(self.n_atoms)[:-1]))
        largest: FloatArray = np.maximum.reduceat(per_atom, starts)
        return largest
