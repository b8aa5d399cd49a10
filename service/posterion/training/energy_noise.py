"""How large the aleatoric energy noise is, judged after sampling on held-out frames.

The likelihood needs a noise before anything is known, and a cautious one trains better.
Served as it is, one calibration factor would then shrink a correct epistemic spread together
with an exaggerated noise.
"""

from dataclasses import replace
from typing import Final

import numpy as np

from posterion.network.config import EnergyReference
from posterion.uncertainty.held_out import HeldOut

FLOOR: Final = 0.05
"""Smallest noise, as a fraction of the likelihood's: no label is exact."""


def fit_energy_noise(reference: EnergyReference, held_out: HeldOut) -> EnergyReference:
    """Choose the noise so that squared errors exceed the squared spread by it on average.

    Args:
        reference: Energy reference with the likelihood's noise.
        held_out: Predictions for frames that were not trained on.

    Returns:
        The reference with the fitted noise per square root of the number of atoms, at most
        the likelihood's.
    """
    moments = held_out.energy_moments(held_out.n_samples)
    error = moments.mean.numpy() - held_out.energy_reference
    excess = float(np.mean((error**2 - moments.epistemic.numpy()) / held_out.n_atoms))
    assumed = reference.energy_std_per_sqrt_atom
    fitted = float(np.clip(np.sqrt(max(excess, 0.0)), FLOOR * assumed, assumed))
    return reference.model_copy(update={"energy_std_per_sqrt_atom": fitted})


def with_energy_noise(held_out: HeldOut, reference: EnergyReference) -> HeldOut:
    """The same predictions with the noise of a reference."""
    noise = reference.energy_std_per_sqrt_atom * np.sqrt(held_out.n_atoms)
    return replace(held_out, energy_std=noise)
