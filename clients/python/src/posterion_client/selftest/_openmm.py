"""OpenMM under test: velocity Verlet written as its custom integrator, in double precision."""

from typing import Final

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from posterion_client.openmm import Settings, posterion_force, session_of
from posterion_client.openmm._functions import KJ_MOL_PER_EV
from posterion_client.selftest._code import Job, Trace

FloatArray = NDArray[np.float64]

_FS: Final = 1e-3  # ps
_NM: Final = 0.1  # per Angstrom


class OpenmmCode:
    """OpenMM on its Reference platform, which computes in double precision."""

    name = "openmm"
    version = openmm.__version__
    energy_tolerance = 1e-7
    energy_reason = (
        "OpenMM's unit of mass and energy, kJ/mol, stands for other constants than ASE's"
    )

    def run(self, job: Job) -> Trace:
        """Run a job; see `posterion_client.selftest.MDCode`."""
        settings = Settings(
            numbers=tuple(job.numbers.tolist()),
            periodic=job.cell is not None,
            url=job.service.url,
            model=job.service.model,
            digest=job.service.digest,
            precision=job.service.precision,
        )
        system = openmm.System()
        for mass in job.masses:
            system.addParticle(mass)
        if job.cell is not None:
            # OpenMM takes no first vector that is off the x axis by a rounding error.
            system.setDefaultPeriodicBoxVectors(*np.tril(job.cell * _NM))
        system.addForce(posterion_force(settings))
        context = openmm.Context(
            system,
            _velocity_verlet(job.timestep_fs),
            openmm.Platform.getPlatformByName("Reference"),
        )
        context.setPositions(job.positions * _NM)
        context.setVelocities(job.velocities * _NM / _FS)
        return _trace(context, job, settings)


def _velocity_verlet(timestep_fs: float) -> openmm.CustomIntegrator:
    integrator = openmm.CustomIntegrator(timestep_fs * _FS)
    integrator.addUpdateContextState()
    integrator.addComputePerDof("v", "v + 0.5*dt*f/m")
    integrator.addComputePerDof("x", "x + dt*v")
    integrator.addComputePerDof("v", "v + 0.5*dt*f/m")
    return integrator


def _trace(context: openmm.Context, job: Job, settings: Settings) -> Trace:
    session = session_of(settings)
    asked = session.n_requests
    forces = context.getState(getForces=True).getForces(asNumpy=True)
    start = session.evaluate(job.positions, job.cell)
    assert start.uncertainty is not None
    potential, total = [], []
    for step in range(job.n_steps + 1):
        if step:
            context.getIntegrator().step(1)
        state = context.getState(getEnergy=True)
        potential.append(_ev(state.getPotentialEnergy()))
        total.append(potential[-1] + _ev(state.getKineticEnergy()))
    end = context.getState(getPositions=True).getPositions(asNumpy=True)
    per_nm = forces.value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    session.close()
    return Trace(
        potential=np.array(potential),
        total=np.array(total),
        forces=np.asarray(per_nm) * _NM / KJ_MOL_PER_EV,
        positions=np.asarray(end.value_in_unit(unit.angstrom)),
        force_epistemic_max=start.uncertainty.force_max,
        n_requests=session.n_requests - asked,
    )


def _ev(energy: unit.Quantity) -> float:
    return float(energy.value_in_unit(unit.kilojoule_per_mole)) / KJ_MOL_PER_EV
