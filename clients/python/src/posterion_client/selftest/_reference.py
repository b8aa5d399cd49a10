"""What is right: the service asked by its SDK, and integrated by ASE."""

import numpy as np
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet

from posterion_client._client import Client
from posterion_client._request import PredictOptions
from posterion_client._results import Prediction
from posterion_client._structure import Structure
from posterion_client.ase import PosterionCalculator
from posterion_client.selftest._code import Job, Trace


def reference_prediction(client: Client, job: Job) -> Prediction:
    """What the service says about the start of a job.

    Args:
        client: Of the service.
        job: The job.
    """
    structure = Structure(
        numbers=job.numbers,
        positions=job.positions,
        cell=job.cell,
        pbc=job.cell is not None,
    )
    return client.predict(
        structure, options=_options(job), model=job.service.model, version=job.service.digest
    )


def reference_trace(client: Client, job: Job) -> Trace:
    """Run a job with ASE's velocity Verlet through `PosterionCalculator`.

    Args:
        client: Of the service.
        job: The job.
    """
    atoms = Atoms(
        numbers=job.numbers,
        positions=job.positions,
        cell=job.cell,
        pbc=job.cell is not None,
        masses=job.masses,
    )
    atoms.set_velocities(job.velocities / units.fs)
    calculator = atoms.calc = PosterionCalculator(
        client=client,
        model=job.service.model,
        version=job.service.digest,
        stress=job.cell is not None,
        options=_options(job),
    )
    forces = atoms.get_forces()
    assert calculator.uncertainty is not None
    largest = calculator.uncertainty.forces.max
    stress = atoms.get_stress(voigt=False) if job.cell is not None else None
    potential, total = [], []

    def note() -> None:
        potential.append(atoms.get_potential_energy())
        total.append(atoms.get_total_energy())

    dynamics = VelocityVerlet(atoms, timestep=job.timestep_fs * units.fs)
    dynamics.attach(note)
    dynamics.run(job.n_steps)
    return Trace(
        potential=np.array(potential),
        total=np.array(total),
        forces=forces,
        positions=atoms.positions.copy(),
        stress=stress,
        force_epistemic_max=largest,
    )


def _options(job: Job) -> PredictOptions:
    return PredictOptions(precision=job.service.precision, stress=job.cell is not None)
