"""Held-out predictions of an imaginary bank whose miscalibration is known exactly."""

import numpy as np

from posterion.uncertainty.held_out import HeldOut

EPISTEMIC_STD = 0.3
FORCE_NOISE_STD = 0.4
ENERGY_NOISE_STD = 0.5


def gaussian_held_out(
    n_structures: int,
    *,
    factor: float,
    n_samples: int = 8,
    n_atoms: int = 5,
    seed: int = 0,
) -> HeldOut:
    """Draw references from the predicted Gaussian, widened by ``factor``.

    A calibration of infinite data would find exactly ``factor`` for both quantities.

    Args:
        n_structures: Number of structures.
        factor: True standard deviation divided by the predicted one.
        n_samples: Number of posterior samples.
        n_atoms: Atoms of each structure.
        seed: Of the draws.

    Returns:
        Predictions and references.
    """
    rng = np.random.default_rng(seed)
    n = n_structures * n_atoms
    unlabelled = HeldOut(
        n_atoms=np.full(n_structures, n_atoms, dtype=np.int64),
        energies=rng.normal(scale=EPISTEMIC_STD, size=(n_samples, n_structures)),
        energy_std=np.full(n_structures, ENERGY_NOISE_STD),
        energy_reference=np.zeros(n_structures),
        forces=rng.normal(scale=EPISTEMIC_STD, size=(n_samples, n, 3)),
        force_std=np.full((n_samples, n), FORCE_NOISE_STD),
        force_reference=np.zeros((n, 3)),
    )
    energies = unlabelled.energy_moments(n_samples)
    forces = unlabelled.force_moments(n_samples)
    return HeldOut(
        n_atoms=unlabelled.n_atoms,
        energies=unlabelled.energies,
        energy_std=unlabelled.energy_std,
        energy_reference=rng.normal(energies.mean.numpy(), factor * energies.total.sqrt().numpy()),
        forces=unlabelled.forces,
        force_std=unlabelled.force_std,
        force_reference=rng.normal(forces.mean.numpy(), factor * forces.total.sqrt().numpy()),
    )
