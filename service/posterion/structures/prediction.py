"""What we answer for one structure: energy, forces, stress, their uncertainty, and flags."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from posterion.structures.evaluation import GradientScalar

FloatArray = NDArray[np.float64]

FlagCode = Literal[
    "force-epistemic-high",
    "energy-epistemic-high",
    "latent-density-low",
    "close-contact",
    "isolated-atom",
    "composition-unseen",
]
Severity = Literal["candidate", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A decision about one structure, with the evidence behind it.

    Attributes:
        code: Which rule decided.
        severity: ``candidate`` (worth a reference calculation) or ``failed`` (do not use).
        atoms: Indices of the atoms concerned; empty when the whole structure is meant.
        metric: Name of the number compared.
        value: Its value, in ``unit``.
        threshold: What it was compared with, in ``unit``.
        unit: Unit of value and threshold.
        threshold_source: Where the threshold came from, e.g. ``calibration``.
        coverage: Fraction of held-out frames on the trusted side of the threshold, as
            measured at calibration; None where the rule is not statistical.
        calibration_id: Digest of the calibration the threshold belongs to.
    """

    code: FlagCode
    severity: Severity
    atoms: tuple[int, ...]
    metric: str
    value: float
    threshold: float
    unit: str
    threshold_source: str
    coverage: float | None
    calibration_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleOutputs:
    """What each posterior sample answers; not calibrated.

    Attributes:
        energies: Shape ``(n_samples,)``, eV.
        forces: Shape ``(n_samples, n_atoms, 3)``, eV/Angstrom, if asked for.
        stress: Shape ``(n_samples, 3, 3)``, eV/Angstrom^3, if asked for and periodic.
    """

    energies: FloatArray
    forces: FloatArray | None
    stress: FloatArray | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncertainty:
    """Standard deviations of energy and forces, split by source.

    ``epistemic`` is the spread of the posterior samples (ddof 1) times its calibration
    factor; total^2 = epistemic^2 + aleatoric^2, element by element.

    Attributes:
        calibrated: Whether calibration factors were applied.
        energy_epistemic: eV.
        energy_aleatoric: eV.
        forces_epistemic: Shape ``(n_atoms, 3)``, eV/Angstrom.
        forces_aleatoric: Shape ``(n_atoms,)``, eV/Angstrom per component.
        samples: What each sample answers, if asked for.
    """

    calibrated: bool
    energy_epistemic: float
    energy_aleatoric: float
    forces_epistemic: FloatArray
    forces_aleatoric: FloatArray
    samples: SampleOutputs | None = None

    @property
    def energy_total(self) -> float:
        """Total standard deviation of the energy, eV."""
        return float(np.hypot(self.energy_epistemic, self.energy_aleatoric))

    @property
    def forces_total(self) -> FloatArray:
        """Total standard deviation of each force component, shape ``(n_atoms, 3)``."""
        return np.hypot(self.forces_epistemic, self.forces_aleatoric[:, None])

    @property
    def forces_per_atom(self) -> FloatArray:
        """Epistemic e_i = sqrt(mean over components of epistemic^2), ``(n_atoms,)``."""
        per_atom: FloatArray = np.sqrt(square_sums(self.forces_epistemic) / 3.0)
        return per_atom

    @property
    def forces_max(self) -> float:
        """Largest e_i of the structure, eV/Angstrom."""
        return math.sqrt(float(square_sums(self.forces_epistemic).max()) / 3.0)

    @property
    def forces_rms(self) -> float:
        """Root mean square of e_i over the atoms, eV/Angstrom."""
        spread = self.forces_epistemic
        return math.sqrt(float(np.add.reduce(spread * spread, axis=None)) / spread.size)

    @property
    def argmax_atom(self) -> int:
        """Index of the atom with the largest e_i."""
        return int(self.forces_per_atom.argmax())


def square_sums(rows: FloatArray) -> FloatArray:
    """Sum of the squares of every row of three; numpy's own sum of short rows takes longer.

    Args:
        rows: Shape ``(n, 3)``.

    Returns:
        Shape ``(n,)``.
    """
    first, second, third = (rows * rows).T
    sums: FloatArray = first + second
    sums += third
    return sums


@dataclass(frozen=True, slots=True, kw_only=True)
class UncertaintyGradient:
    """Where a measure of uncertainty grows: its value and its exact derivatives.

    Attributes:
        of: ``force_epistemic_rms``, the prediction's `Uncertainty.forces_rms`;
            ``force_epistemic_max_smooth``, a norm of its `Uncertainty.forces_per_atom` a
            little above their largest; ``energy_epistemic``, its own; ``latent_score``, the
            largest score of an atom by the bank's latent density.
        value: In ``unit``.
        unit: ``eV/angstrom``, ``eV`` or ``nat``.
        positions: By the positions at a fixed cell, shape ``(n_atoms, 3)``, unit/Angstrom.
        cell: By the rows of the cell at fixed fractional coordinates, shape ``(3, 3)``,
            unit/Angstrom; None unless fully periodic.
    """

    of: GradientScalar
    value: float
    unit: Literal["eV/angstrom", "eV", "nat"]
    positions: FloatArray
    cell: FloatArray | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The answer for one structure.

    Attributes:
        energy: Mean over the posterior samples, eV.
        forces: Exact negative gradient of ``energy``, ``(n_atoms, 3)``, eV/Angstrom.
        stress: ``(3, 3)``, eV/Angstrom^3, positive = tension; None unless fully periodic
            and asked for.
        uncertainty: None unless asked for.
        flags: At most one per code, the highest severity.
        n_samples: Posterior samples that were evaluated.
        uncertainty_gradient: None unless asked for.
    """

    energy: float
    forces: FloatArray
    stress: FloatArray | None
    uncertainty: Uncertainty | None
    flags: tuple[Flag, ...]
    n_samples: int
    uncertainty_gradient: UncertaintyGradient | None = None
