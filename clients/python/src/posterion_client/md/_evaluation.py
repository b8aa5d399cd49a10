"""What the service says about one structure of a trajectory, or about several at once."""

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from posterion_client.md._frames import Reply, flag_codes

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepUncertainty:
    """Calibrated standard deviations of one structure.

    Attributes:
        energy_epistemic: Spread of the samples' energies, eV.
        energy_total: With the aleatoric part, eV.
        force_max: Largest epistemic standard deviation of an atom, eV/Angstrom.
        force_rms: Root mean square over the atoms, eV/Angstrom.
        force_epistemic: Of each atom, the root mean square over its components, shape
            ``(n_atoms,)``, eV/Angstrom.
        force_total: The same with the aleatoric part.
    """

    energy_epistemic: float
    energy_total: float
    force_max: float
    force_rms: float
    force_epistemic: FloatArray
    force_total: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepGradient:
    """Where one number of the uncertainty grows.

    Attributes:
        value: The number, as the uncertainty states it: eV/Angstrom, eV, or of no unit.
        positions: Its derivatives, shape ``(n_atoms, 3)``, per Angstrom.
        cell: Its derivatives by the lattice vectors at fixed fractional coordinates, shape
            ``(3, 3)``, per Angstrom; None without full periodicity.
    """

    value: float
    positions: FloatArray
    cell: FloatArray | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """What the service says about one structure.

    Attributes:
        energy: Mean over the samples, eV.
        forces: Negative gradient of that energy, shape ``(n_atoms, 3)``, eV/Angstrom.
        stress: Shape ``(3, 3)``, eV/Angstrom^3, positive = tension; None unless asked for.
        uncertainty: None unless asked for.
        candidate_flags: Codes of flags that say: worth a reference calculation.
        failed_flags: Codes of flags that say: do not use.
        n_samples: Posterior samples evaluated.
        uncertainty_gradient: None unless asked for.
    """

    energy: float
    forces: FloatArray
    stress: FloatArray | None
    uncertainty: StepUncertainty | None
    candidate_flags: tuple[str, ...]
    failed_flags: tuple[str, ...]
    n_samples: int
    uncertainty_gradient: StepGradient | None = None

    @property
    def flags(self) -> tuple[str, ...]:
        """Codes of all flags, the worse ones first."""
        return self.failed_flags + self.candidate_flags

    @property
    def status(self) -> Literal["ok", "candidate", "failed"]:
        """The worst that a flag says."""
        if self.failed_flags:
            return "failed"
        return "candidate" if self.candidate_flags else "ok"

    @property
    def level(self) -> int:
        """The same as a number: 0 no flag, 1 candidate, 2 failed."""
        return 2 if self.failed_flags else int(bool(self.candidate_flags))


def evaluations(reply: Reply, sizes: NDArray[np.int64]) -> tuple[Evaluation, ...]:
    """Split a reply into its structures.

    Args:
        reply: Without errors.
        sizes: Atoms of each structure.
    """
    ends = [0, *accumulate(sizes.tolist())]
    return tuple(
        _evaluation(reply, index, slice(first, last))
        for index, (first, last) in enumerate(pairwise(ends))
    )


def _evaluation(reply: Reply, index: int, atoms: slice) -> Evaluation:
    _, n_samples, candidate, failed, energy, *spread, _, _ = reply.records[index].item()
    uncertainty = None
    if reply.force_epistemic is not None and reply.force_total is not None:
        epistemic, total, largest, rms = spread
        uncertainty = StepUncertainty(
            energy_epistemic=epistemic,
            energy_total=total,
            force_max=largest,
            force_rms=rms,
            force_epistemic=reply.force_epistemic[atoms],
            force_total=reply.force_total[atoms],
        )
    return Evaluation(
        energy=energy,
        forces=reply.forces[atoms],
        stress=None if reply.stress is None else reply.stress[index],
        uncertainty=uncertainty,
        candidate_flags=flag_codes(candidate),
        failed_flags=flag_codes(failed),
        n_samples=n_samples,
        uncertainty_gradient=_gradient(reply, index, atoms),
    )


def _gradient(reply: Reply, index: int, atoms: slice) -> StepGradient | None:
    values, cells = reply.gradient_values, reply.gradient_cells
    if values is None or cells is None or reply.gradient_positions is None:
        return None
    return StepGradient(
        value=float(values[index]),
        positions=reply.gradient_positions[atoms],
        cell=None if np.isnan(cells[index]).any() else cells[index],
    )
