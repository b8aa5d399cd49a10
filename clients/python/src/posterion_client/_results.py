"""What the service answers for one structure: energy, forces, stress, uncertainty, flags."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
GradientScalar = Literal[
    "force_epistemic_rms", "force_epistemic_max_smooth", "energy_epistemic", "latent_score"
]
"""What the gradient of the uncertainty may be of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """Which sample set answered.

    Attributes:
        name: Name of the model.
        version: First 16 hex digits of the digest.
        digest: ``sha256:`` and 64 hex digits; names the sample set for good.
        n_samples: How many posterior samples were evaluated.
        engine: How they were evaluated.
        engine_deviation: Largest difference of the engine's forces from the float64 reference
            in its self-test, relative to their root mean square; None if the service does not
            say.
    """

    name: str
    version: str
    digest: str
    n_samples: int
    engine: str
    engine_deviation: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Where the time of a request went, in milliseconds, as the service measured it.

    Attributes:
        queue_ms: Waiting for the device.
        graph_ms: Finding neighbours.
        evaluate_ms: Evaluating the samples.
        total_ms: From the first byte read to the reply.
    """

    queue_ms: float
    graph_ms: float
    evaluate_ms: float
    total_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A decision about one structure, with the evidence behind it.

    Attributes:
        code: Which rule decided, e.g. ``force-epistemic-high``.
        severity: ``candidate`` (worth a reference calculation) or ``failed`` (do not use).
        atoms: Indices of the atoms concerned; empty when the whole structure is meant.
        metric: Name of the number compared.
        value: Its value, in ``unit``.
        threshold: What it was compared with, in ``unit``.
        unit: Unit of value and threshold.
        threshold_source: Where the threshold came from, e.g. ``calibration``.
        coverage: Fraction of held-out frames on the trusted side of the threshold; None
            where the rule is not statistical.
        calibration_id: Digest of the calibration the threshold belongs to, or None.
    """

    code: str
    severity: str
    atoms: tuple[int, ...]
    metric: str
    value: float
    threshold: float
    unit: str
    threshold_source: str
    coverage: float | None
    calibration_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyUncertainty:
    """Standard deviation of the energy, eV, split by source.

    Attributes:
        epistemic: Spread of the posterior samples.
        aleatoric: Noise the samples themselves predict.
        total: Root of the sum of both squares.
    """

    epistemic: float
    aleatoric: float
    total: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForcesUncertainty:
    """Standard deviations of the force components, eV/Angstrom, split by source.

    Attributes:
        epistemic: Spread of the posterior samples, shape ``(n_atoms, 3)``.
        aleatoric: Noise the samples themselves predict, per component, ``(n_atoms,)``.
        total: Root of the sum of both squares, shape ``(n_atoms, 3)``.
        max: Largest e_i, where e_i is the root mean square over the components of atom i's
            ``epistemic``.
        rms: Root mean square of e_i over the atoms.
        argmax_atom: Index of the atom with the largest e_i.
    """

    epistemic: FloatArray
    aleatoric: FloatArray
    total: FloatArray
    max: float
    rms: float
    argmax_atom: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampleOutputs:
    """What each posterior sample answers; not calibrated.

    Attributes:
        energies: Shape ``(n_samples,)``, eV.
        forces: Shape ``(n_samples, n_atoms, 3)``, eV/Angstrom; None unless asked for.
        stress: Shape ``(n_samples, 3, 3)``, eV/Angstrom^3, positive = tension; None unless
            asked for and fully periodic.
    """

    energies: FloatArray
    forces: FloatArray | None
    stress: FloatArray | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Uncertainty:
    """Standard deviations of a prediction.

    Attributes:
        calibrated: Whether the spread was scaled to cover held-out frames as stated.
        energy: Of the energy, eV.
        forces: Of the force components, eV/Angstrom.
        samples: What each posterior sample answers; None unless asked for.
    """

    calibrated: bool
    energy: EnergyUncertainty
    forces: ForcesUncertainty
    samples: SampleOutputs | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UncertaintyGradient:
    """Where one number of the uncertainty grows: its value and its exact derivatives.

    Attributes:
        of: ``force_epistemic_rms``, the ``rms`` of `ForcesUncertainty`;
            ``force_epistemic_max_smooth``, a smooth bound a little above its ``max``;
            ``energy_epistemic``, the ``epistemic`` of `EnergyUncertainty`; ``latent_score``,
            how rare the rarest atom is by the bank's latent density.
        value: In ``unit``.
        unit: ``eV/angstrom``, ``eV`` or ``nat``.
        positions: By the positions at a fixed cell, shape ``(n_atoms, 3)``, unit/Angstrom.
        cell: By the rows of the cell at fixed fractional coordinates, shape ``(3, 3)``,
            unit/Angstrom; None unless fully periodic.
    """

    of: GradientScalar
    value: float
    unit: str
    positions: FloatArray
    cell: FloatArray | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """The answer for one structure; its arrays are read-only.

    Attributes:
        energy: Mean over the posterior samples, eV.
        forces: Negative gradient of ``energy``, shape ``(n_atoms, 3)``, eV/Angstrom.
        stress: Shape ``(3, 3)``, eV/Angstrom^3, positive = tension; None unless asked for
            and fully periodic.
        uncertainty: None unless asked for.
        flags: At most one per code.
        status: ``flagged`` with at least one flag, else ``ok``.
        n_samples: How many posterior samples were evaluated for this structure.
        model: Which sample set answered.
        timing: Where the time of the request went, or None if the service did not say.
        request_id: Identifier of the request in the service's logs, or None.
        uncertainty_gradient: None unless asked for.
    """

    energy: float
    forces: FloatArray
    stress: FloatArray | None
    uncertainty: Uncertainty | None
    flags: tuple[Flag, ...]
    status: Literal["ok", "flagged"]
    n_samples: int
    model: ModelIdentity
    timing: Timing | None
    request_id: str | None
    uncertainty_gradient: UncertaintyGradient | None = None
