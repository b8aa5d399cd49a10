"""The checks: energies, forces, derivatives, virial, and 200 steps at constant energy."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from posterion_client._client import Client
from posterion_client._results import Prediction
from posterion_client.selftest._certificate import Check
from posterion_client.selftest._code import Job, MDCode, Service, Trace
from posterion_client.selftest._jobs import Subjects, job_of
from posterion_client.selftest._reference import reference_prediction, reference_trace

FloatArray = NDArray[np.float64]

FORCES_RELATIVE: Final = 1e-6
STRESS_RELATIVE: Final = 1e-6
UNCERTAINTY_RELATIVE: Final = 1e-6
FORCE_STEP: Final = 2e-4
STRAIN_STEP: Final = 1e-4
FORCE_DERIVATIVE: Final = 1e-4
"""eV/Angstrom: the third derivative of a C-H bond over six times the step's square, twice."""
STRESS_DERIVATIVE: Final = 1e-3
"""Relative to the largest component."""
DRIFT_PER_ATOM: Final = 1e-3

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """The checks of one code against one service.

    Attributes:
        code: The code under test.
        client: Of the service.
        service: Whom to ask, with float64.
        subjects: What the runs are about.
        n_steps: Of the runs at constant energy.
    """

    code: MDCode
    client: Client
    service: Service
    subjects: Subjects
    n_steps: int

    def checks(self, told: Told) -> Iterator[Check]:
        """Make every check.

        Args:
            told: Is told what begins.
        """
        named = [("molecule", self.subjects.free), ("triclinic cell", self.subjects.periodic)]
        for subject, atoms in named:
            if atoms is not None:
                told(f"{subject}: one evaluation and its derivatives")
                yield from self._static(subject, atoms)
        for subject, atoms in named:
            if atoms is not None:
                told(f"{subject}: {self.n_steps} steps at constant energy")
                yield from self._dynamic(subject, atoms)

    def _static(self, subject: str, atoms: Atoms) -> Iterator[Check]:
        job = job_of(atoms, self.service, n_steps=0)
        right = reference_prediction(self.client, job)
        found = self.code.run(job)
        scale = float(np.sqrt(np.mean(right.forces**2)))
        yield Check(
            name="energy",
            subject=subject,
            deviation=abs(float(found.potential[0]) - right.energy),
            allowed=self.code.energy_tolerance,
            unit="eV",
        )
        yield Check(
            name="forces, atom by atom",
            subject=subject,
            deviation=_largest(found.forces - right.forces),
            allowed=FORCES_RELATIVE * scale,
            unit="eV/A",
        )
        yield self._uncertainty(subject, found, right)
        yield Check(
            name="forces are derivatives",
            subject=subject,
            deviation=self._force_derivatives(job, found),
            allowed=FORCE_DERIVATIVE,
            unit="eV/A",
        )
        if job.cell is not None:
            yield from self._stress(subject, job, found, right)

    def _uncertainty(self, subject: str, found: Trace, right: Prediction) -> Check:
        deviation = None
        assert right.uncertainty is not None
        known = right.uncertainty.forces.max
        if found.force_epistemic_max is not None:
            deviation = abs(found.force_epistemic_max - known)
        return Check(
            name="largest force uncertainty",
            subject=subject,
            deviation=deviation,
            allowed=UNCERTAINTY_RELATIVE * max(known, 1e-3),
            unit="eV/A",
            note="" if deviation is not None else "the code has no place to read it from",
        )

    def _force_derivatives(self, job: Job, start: Trace) -> float:
        """Largest difference of three force components from central differences."""
        deviations = []
        for place in range(3):
            atom = place * (len(job.numbers) - 1) // 2
            moved = np.zeros_like(job.positions)
            moved[atom, place] = FORCE_STEP
            ahead, behind = (
                self.code.run(replace(job, positions=job.positions + sign * moved)).potential[0]
                for sign in (1, -1)
            )
            slope = (ahead - behind) / (2 * FORCE_STEP)
            deviations.append(abs(slope + start.forces[atom, place]))
        return float(max(deviations))

    def _stress(self, subject: str, job: Job, found: Trace, right: Prediction) -> Iterator[Check]:
        assert right.stress is not None
        scale = _largest(right.stress)
        note = "" if found.stress is not None else "the code has no notion of it"
        deviation = None if found.stress is None else _largest(found.stress - right.stress)
        yield Check(
            name="stress, off-diagonals too",
            subject=subject,
            deviation=deviation,
            allowed=STRESS_RELATIVE * scale,
            unit="eV/A^3",
            note=note,
        )
        if found.stress is not None:
            yield Check(
                name="stress is a derivative",
                subject=subject,
                deviation=self._stress_derivatives(job, found.stress),
                allowed=STRESS_DERIVATIVE * scale,
                unit="eV/A^3",
            )

    def _stress_derivatives(self, job: Job, stress: FloatArray) -> float:
        """Largest difference of two components from central differences of the energy."""
        assert job.cell is not None
        volume = abs(float(np.linalg.det(job.cell)))
        deviations = []
        for row, column in ((0, 0), (1, 0)):  # both keep the cell lower triangular
            strain = np.zeros((3, 3))
            strain[row, column] = STRAIN_STEP
            ahead, behind = (
                self.code.run(strained(job, sign * strain)).potential[0] for sign in (1, -1)
            )
            slope = (ahead - behind) / (2 * STRAIN_STEP * volume)
            deviations.append(abs(slope - stress[row, column]))
        return float(max(deviations))

    def _dynamic(self, subject: str, atoms: Atoms) -> Iterator[Check]:
        job = job_of(atoms, self.service, n_steps=self.n_steps)
        right, found = reference_trace(self.client, job), self.code.run(job)
        yield Check(
            name="total energy against ASE",
            subject=subject,
            deviation=_largest(found.total - right.total),
            allowed=self.code.energy_tolerance,
            unit="eV",
            note=self.code.energy_reason,
        )
        single = replace(job, service=replace(self.service, precision="float32"))
        total = self.code.run(single).total
        yield Check(
            name="drift with float32, per atom",
            subject=subject,
            deviation=_largest(total - total[0]) / len(job.numbers),
            allowed=DRIFT_PER_ATOM,
            unit="eV",
        )


def strained(job: Job, strain: FloatArray) -> Job:
    """The same job with its cell and positions strained, rows multiplied by 1 + strain."""
    assert job.cell is not None
    deformation = np.eye(3) + strain
    return replace(job, cell=job.cell @ deformation, positions=job.positions @ deformation)


def _largest(values: FloatArray) -> float:
    return float(np.abs(values).max())
