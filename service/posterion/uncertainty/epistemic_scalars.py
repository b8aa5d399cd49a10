"""One number for the epistemic spread of a structure, and how it depends on the samples.

Simulations that look for what a bank does not know follow the gradient of such a number (van
der Oord, Sachs, Kovacs, Ortner and Csanyi, npj Comput. Mater. 9, 168, 2023; Kulichenko et al.,
Nat. Comput. Sci. 3, 230, 2023; Zaverkin et al., npj Comput. Mater. 10, 83, 2024). Everything
here is about calibrated numbers, those that a prediction states. At a spread of exactly zero,
the least it can be, the derivatives are taken to be zero.
"""

from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from posterion.structures.prediction import Uncertainty

FloatArray = NDArray[np.float64]
ForceScalar = Literal["force_epistemic_rms", "force_epistemic_max_smooth"]

SHARPNESS: Final = 16
"""p of the norm (sum of e_i^p)^(1/p) that stands for the largest e_i of n atoms: never below
it, and at most n^(1/p) times as large (1.15 for 9 atoms, 1.54 for 1000)."""


class ForceSlopes(NamedTuple):
    """A scalar of the forces' spread, with its derivatives.

    Attributes:
        value: eV/Angstrom.
        forces: By the forces of each sample, shape ``(n_samples, n_atoms, 3)``.
        variance: By an epistemic variance of an atom's force components that samples state
            themselves, averaged over the samples, shape ``(n_atoms,)``, Angstrom/eV.
    """

    value: float
    forces: FloatArray
    variance: FloatArray


def force_scalar(
    kind: ForceScalar, found: Uncertainty, forces: FloatArray, *, factor: float
) -> ForceSlopes:
    """A scalar of the calibrated spread of forces.

    Args:
        kind: ``force_epistemic_rms`` is the root mean square of e_i over the atoms,
            ``force_epistemic_max_smooth`` their norm with the exponent `SHARPNESS`.
        found: Calibrated uncertainty of the structure.
        forces: Of each sample, shape ``(n_samples, n_atoms, 3)``, eV/Angstrom.
        factor: That calibrated it.
    """
    squares = found.forces_per_atom**2
    if kind == "force_epistemic_rms":
        value = found.forces_rms
        by_square = np.full(len(squares), 0.5 / len(squares))
    else:
        largest = found.forces_max
        ratios = squares / largest**2 if largest > 0.0 else np.zeros_like(squares)
        value = largest * float((ratios ** (SHARPNESS / 2)).sum()) ** (1.0 / SHARPNESS)
        relative = squares / value**2 if value > 0.0 else np.zeros_like(squares)
        by_square = 0.5 * relative ** (SHARPNESS / 2 - 1)
    by_square = by_square / value if value > 0.0 else np.zeros_like(squares)
    variance = factor**2 * by_square
    # e_i^2 is the mean over three components of their variances over the samples.
    by_forces = (2.0 / 3.0) * variance[:, None] * _deviations(forces)
    return ForceSlopes(value=value, forces=by_forces, variance=variance)


def energy_slopes(found: Uncertainty, energies: FloatArray, *, factor: float) -> FloatArray:
    """Derivatives of the calibrated epistemic energy by the energy of each sample.

    Args:
        found: Calibrated uncertainty of the structure.
        energies: Shape ``(n_samples,)``, eV.
        factor: That calibrated it.

    Returns:
        Shape ``(n_samples,)``.
    """
    value = found.energy_epistemic
    if not value > 0.0:
        return np.zeros_like(energies)
    slopes: FloatArray = factor**2 / value * _deviations(energies)
    return slopes


def _deviations(values: FloatArray) -> FloatArray:
    """Half the derivatives of the variance over the first axis (ddof 1)."""
    if len(values) == 1:
        return np.zeros_like(values)
    deviations: FloatArray = (values - values.mean(axis=0)) / (len(values) - 1)
    return deviations
