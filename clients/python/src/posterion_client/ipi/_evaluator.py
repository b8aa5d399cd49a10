"""Atomic units in, atomic units out: what ``ffdirect`` and the socket driver share."""

import json
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from posterion_client._errors import InvalidArgument
from posterion_client._halting import UncertaintyExceeded, halting_flags
from posterion_client.ipi._beads import BeadAnswer, Beads, CommitteeBeads, MeanBeads
from posterion_client.ipi._settings import DriverSettings
from posterion_client.ipi._units import BOHR_PER_ANGSTROM, FORCE, HARTREE_PER_EV

FloatArray = NDArray[np.float64]
Result: TypeAlias = tuple[float, FloatArray, FloatArray, str]
"""Energy, forces, virial and a JSON object, as i-PI expects them."""


class BeadEvaluator:
    """Energies, forces, virials and extras of beads.

    Args:
        settings: Whom to ask, and what.
        say: Takes a line for the log.

    Raises:
        InvalidArgument: If a setting is wrong.
    """

    def __init__(self, settings: DriverSettings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say
        kind: type[CommitteeBeads | MeanBeads] = MeanBeads
        if settings.committee:
            kind = CommitteeBeads
        self._beads: Beads = kind(settings)
        self._n_requests = 0

    def __call__(
        self, cells: Sequence[FloatArray], positions: Sequence[FloatArray]
    ) -> list[Result]:
        """Evaluate all beads in one request.

        Args:
            cells: Of each bead, columns are the lattice vectors, shape ``(3, 3)``, bohr.
            positions: Of each bead, shape ``(n_atoms, 3)``, bohr.

        Raises:
            UncertaintyExceeded: If a flag does, of the severity that the settings name.
            PosterionError: If the service cannot answer, or another sample set would.
        """
        n_atoms = len(self._settings.numbers)
        if len(positions[0]) != n_atoms:
            raise InvalidArgument(
                f"i-PI has {len(positions[0])} atoms, template or symbols name {n_atoms}"
            )
        lattices = np.stack([cell.T / BOHR_PER_ANGSTROM for cell in cells])
        answers = self._beads.evaluate([bead / BOHR_PER_ANGSTROM for bead in positions], lattices)
        self._n_requests += 1
        for answer in answers:
            found = halting_flags(
                self._settings.halt,
                candidate=answer.candidate_flags,
                failed=answer.failed_flags,
            )
            if found:
                said = f"halted by {', '.join(found)} (parameter halt: {self._settings.halt})"
                raise UncertaintyExceeded(said, flags=found)
        if self._n_requests == 1 and answers[0].samples is not None:
            self._say(calibration_notice(answers[0]))
        volumes = np.abs(np.linalg.det(lattices)).tolist()
        return [
            result_of(answer, volume=volume, n_requests=self._n_requests)
            for answer, volume in zip(answers, volumes, strict=True)
        ]

    def close(self) -> None:
        """Hang up."""
        self._beads.close()


def calibration_notice(answer: BeadAnswer) -> str:
    """Which ``alpha`` turns the committee's spread into the service's.

    Args:
        answer: With samples.
    """
    energies = np.zeros(0) if answer.samples is None else answer.samples.energies
    raw = float(np.std(energies, ddof=1)) if len(energies) > 1 else 0.0
    if raw == 0.0:
        return f"{len(energies)} posterior samples, which agree"
    return (
        f"{len(energies)} posterior samples; <alpha> {answer.energy_epistemic / raw:.8g} </alpha> "
        "makes committee_uncertainty the calibrated standard deviation of the energy"
    )


def result_of(answer: BeadAnswer, *, volume: float, n_requests: int) -> Result:
    """What i-PI expects of one bead, in atomic units.

    Args:
        answer: In eV and Angstrom.
        volume: Of the cell, Angstrom^3.
        n_requests: How often the service was asked so far.
    """
    extras = {
        "energy_epistemic": answer.energy_epistemic * HARTREE_PER_EV,
        "force_epistemic": (answer.force_epistemic * FORCE).tolist(),
        "force_epistemic_max": answer.force_max * FORCE,
        "flag_level": 2 if answer.failed_flags else 1 if answer.candidate_flags else 0,
        "flags": " ".join(answer.failed_flags + answer.candidate_flags),
        "n_requests": n_requests,
        **_committee(answer, volume),
    }
    virial = np.zeros((3, 3)) if answer.stress is None else _virial(answer.stress, volume)
    return answer.energy * HARTREE_PER_EV, answer.forces * FORCE, virial, json.dumps(extras)


def _virial(stress: FloatArray, volume: float) -> FloatArray:
    """Hartree, of one stress or of one per sample; symmetric, so columns are rows."""
    return -stress * (volume * HARTREE_PER_EV)


def _committee(answer: BeadAnswer, volume: float) -> dict[str, object]:
    """The members of an ``ffcommittee``, under the names it looks for."""
    samples = answer.samples
    if samples is None or samples.forces is None:
        return {}
    n_samples = len(samples.energies)
    virials = np.zeros((n_samples, 3, 3))
    if samples.stress is not None:
        virials = _virial(samples.stress, volume)
    return {
        "committee_pot": (samples.energies * HARTREE_PER_EV).tolist(),
        "committee_force": (samples.forces * FORCE).reshape(n_samples, -1).tolist(),
        "committee_virial": virials.tolist(),
    }
