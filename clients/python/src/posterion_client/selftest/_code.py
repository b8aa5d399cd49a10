"""What the self-test asks of an MD code, and what the code says it did.

Every check is made of runs: a run of no steps says energy, forces and stress of one
structure; a run of many says how total energy is conserved. So an adapter is certified by
implementing `MDCode` with the real code, and nothing else.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from posterion_client.md import Precision

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Which service is asked, and how.

    Attributes:
        url: Its address.
        model: Which model.
        digest: Sample set that must answer.
        precision: ``float64`` in comparisons, ``float32`` for what runs use by default.
    """

    url: str
    model: str
    digest: str
    precision: Precision


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """One run at constant energy.

    Attributes:
        numbers: Atomic numbers, shape ``(n_atoms,)``; elements are not sorted.
        positions: At the start, shape ``(n_atoms, 3)``, Angstrom.
        velocities: At the start, shape ``(n_atoms, 3)``, Angstrom/fs.
        masses: Shape ``(n_atoms,)``, unified atomic mass units.
        cell: Shape ``(3, 3)``, rows are the lattice vectors, lower triangular, Angstrom; None
            for a molecule in free space.
        timestep_fs: Length of a step, fs.
        n_steps: Number of velocity-Verlet steps; 0 = evaluate the start only.
        service: Whom to ask.
    """

    numbers: NDArray[np.int64]
    positions: FloatArray
    velocities: FloatArray
    masses: FloatArray
    cell: FloatArray | None
    timestep_fs: float
    n_steps: int
    service: Service


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trace:
    """What the code reports of a run, in the code's own numbers converted to eV and Angstrom.

    Attributes:
        potential: Potential energy at each step, shape ``(n_steps + 1,)``, eV.
        total: Potential and kinetic energy at each step, as the code adds them up, eV.
        forces: At the start, shape ``(n_atoms, 3)``, in the order of the job, eV/Angstrom.
        positions: At the end, shape ``(n_atoms, 3)``, in the order of the job, Angstrom;
            they may be wrapped into the cell.
        stress: At the start, without the kinetic part, shape ``(3, 3)``, eV/Angstrom^3,
            positive = tension; None for a molecule, or where the code has no notion of it.
        force_epistemic_max: At the start, largest epistemic standard deviation of an atom's
            force as the code can read it, eV/Angstrom; None where it cannot.
        n_requests: How many evaluations the service was asked for, where the adapter counts.
    """

    potential: FloatArray
    total: FloatArray
    forces: FloatArray
    positions: FloatArray
    stress: FloatArray | None = None
    force_epistemic_max: float | None = None
    n_requests: int | None = None


class MDCode(Protocol):
    """An MD code whose forces come from the service through its adapter.

    Attributes:
        name: How it is called on the command line.
        version: Version of the code.
        energy_tolerance: Largest deviation of the total energy from the reference trajectory
            over 200 steps of 0.5 fs with float64, eV: what unit constants and printing leave.
        energy_reason: Where that deviation comes from.
    """

    name: str
    version: str
    energy_tolerance: float
    energy_reason: str

    def run(self, job: Job) -> Trace:
        """Run a job with the code itself.

        Args:
            job: What to run.

        Returns:
            What the code reports.

        Raises:
            PosterionError: If the service cannot answer; processes end with a status and
                their output instead, raised as `RuntimeError`.
        """
