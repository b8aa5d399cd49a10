"""TorchSim under test: its own velocity Verlet over `PosterionModel`."""

from importlib.metadata import version
from typing import Final

import numpy as np
import torch
from ase import Atoms
from torch_sim.integrators import nve
from torch_sim.io import atoms_to_state
from torch_sim.quantities import calc_kinetic_energy
from torch_sim.units import MetalUnits

from posterion_client.selftest._code import Job, Trace
from posterion_client.torchsim import PosterionModel

_FS: Final = 1e-3  # ps


class TorchsimCode:
    """TorchSim with one system."""

    name = "torchsim"
    version = version("torch-sim-atomistic")
    energy_tolerance = 1e-9
    energy_reason = "the order in which kinetic energies are added"

    def run(self, job: Job) -> Trace:
        """Run a job; see `posterion_client.selftest.MDCode`."""
        model = PosterionModel(
            job.service.url,
            model=job.service.model,
            digest=job.service.digest,
            stress=job.cell is not None,
            precision=job.service.precision,
        )
        try:
            return _run(model, job)
        finally:
            model.close()


def _run(model: PosterionModel, job: Job) -> Trace:
    atoms = Atoms(
        numbers=job.numbers, positions=job.positions, cell=job.cell, pbc=job.cell is not None
    )
    state = atoms_to_state([atoms], torch.device("cpu"), torch.float64)
    state.masses = torch.from_numpy(job.masses.copy())
    unit_of_time = float(MetalUnits.time) * _FS
    init, update = nve(
        model=model,
        dt=torch.tensor(job.timestep_fs * unit_of_time, dtype=torch.float64),
        kT=torch.tensor(0.0, dtype=torch.float64),
    )
    moving = init(state)
    assert model.last is not None
    first = model.last
    moving.momenta = torch.from_numpy(job.velocities / unit_of_time * job.masses[:, None])
    potential, total = [], []
    for step in range(job.n_steps + 1):
        if step:
            moving = update(moving)
        energy = float(moving.energy[0])
        potential.append(energy)
        total.append(energy + _kinetic(moving.momenta, moving.masses))
    return Trace(
        potential=np.array(potential),
        total=np.array(total),
        forces=first.forces.copy(),
        positions=moving.positions.numpy().copy(),
        stress=None if first.stress is None else first.stress[0].copy(),
        force_epistemic_max=float(first.force_max[0]),
        n_requests=model.n_requests,
    )


def _kinetic(momenta: torch.Tensor, masses: torch.Tensor) -> float:
    return float(calc_kinetic_energy(momenta=momenta, masses=masses))
