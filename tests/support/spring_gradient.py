"""The gradient of the uncertainty of springs, in closed form; see `tests.support.fake_backend`."""

import numpy as np

from posterion.structures.evaluation import GradientScalar
from posterion.structures.prediction import FloatArray, UncertaintyGradient
from posterion.structures.structure import Structure


def spring_gradient(
    structure: Structure, away: FloatArray, stiffness: FloatArray, scalar: GradientScalar
) -> UncertaintyGradient:
    """Of springs of several samples, stretched by ``away``, shape ``(n_atoms, 3)``, Angstrom.

    The latent score is made up: the square of the stretches.
    """
    spread = float(stiffness.std(ddof=1))
    rms = float(np.sqrt((away**2).mean()))
    largest = float(np.sqrt((away**2).mean(axis=1)).max())
    values: dict[GradientScalar, tuple[float, FloatArray]] = {
        "force_epistemic_rms": (spread * rms, spread * away / (away.size * rms)),
        # Any other function of the stretches does for the API.
        "force_epistemic_max_smooth": (spread * largest, spread * away),
        "energy_epistemic": (0.5 * spread * float((away**2).sum()), spread * away),
        "latent_score": (float((away**2).sum()), 2.0 * away),
    }
    value, positions = values[scalar]
    cell = None
    if structure.cell is not None and structure.fully_periodic:
        cell = (structure.positions @ np.linalg.inv(structure.cell)).T @ positions
    energy_like = scalar == "energy_epistemic"
    return UncertaintyGradient(
        of=scalar,
        value=value,
        unit="nat" if scalar == "latent_score" else "eV" if energy_like else "eV/angstrom",
        positions=positions,
        cell=cell,
    )
