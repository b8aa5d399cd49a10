"""Errors beside the uncertainties that should announce them, per atom and per structure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from posterion.uncertainty.residuals import Residuals

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

Reduction = Literal["max", "mean"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """Force errors and uncertainties of atoms, or of structures.

    Attributes:
        error: Length of the error of the force on an atom, eV/Angstrom, shape ``(n,)``.
        uncertainty: By name: ``epistemic``, ``aleatoric`` and ``total`` standard deviation
            of a component, eV/Angstrom, and ``latent``, the score of a latent density in
            nats, where the bank has one; shape ``(n,)`` each.
        frame: Frame that each value belongs to, shape ``(n,)``.
    """

    error: FloatArray
    uncertainty: Mapping[str, FloatArray]
    frame: IntArray


def judge_atoms(forces: Residuals, *, latent: FloatArray | None = None) -> Judged:
    """Gather the three components of each atom.

    Args:
        forces: Components in the order of the atoms.
        latent: Score of each atom by the latent density, shape ``(n_atoms,)``.

    Returns:
        One value per atom: root mean square of its components' standard deviations, and the
        length of its error.
    """
    uncertainty = {
        "epistemic": _root_mean_square(forces.epistemic),
        "total": _root_mean_square(forces.total),
        "aleatoric": _root_mean_square(forces.aleatoric),
    }
    if latent is not None:
        uncertainty["latent"] = latent
    return Judged(
        error=np.linalg.norm(forces.error.reshape(-1, 3), axis=1),
        uncertainty=uncertainty,
        frame=forces.frame[::3],
    )


def judge_structures(atoms: Judged, *, by: Reduction) -> Judged:
    """Reduce errors and uncertainties alike to one value per structure.

    Args:
        atoms: Atoms of one structure stand together.
        by: ``max``, the worst atom, or ``mean`` over the atoms.
    """
    starts = np.flatnonzero(np.diff(atoms.frame, prepend=-1))
    sizes = np.diff(starts, append=atoms.frame.size)

    def reduce(values: FloatArray) -> FloatArray:
        if by == "max":
            largest: FloatArray = np.maximum.reduceat(values, starts)
            return largest
        mean: FloatArray = np.add.reduceat(values, starts) / sizes
        return mean

    return Judged(
        error=reduce(atoms.error),
        uncertainty={name: reduce(values) for name, values in atoms.uncertainty.items()},
        frame=atoms.frame[starts],
    )


def _root_mean_square(components: FloatArray) -> FloatArray:
    per_atom: FloatArray = np.sqrt(np.mean(components.reshape(-1, 3) ** 2, axis=1))
    return per_atom
