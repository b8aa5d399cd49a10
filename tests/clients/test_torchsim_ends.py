"""TorchSim's batches, and the ends of its runs: one line, or the same numbers."""

import json
import math
from pathlib import Path

import pytest

from tests.support.md_codes import run_in_environment
from tests.support.services import Service
from tests.support.spring_service import spring_service
from tests.support.waiting import until
from tests.support.watched_runs import RenewedBackend, WatchedRun

pytestmark = pytest.mark.clients

N_STEPS = 1000
_RUN = f"""
import sys, time
import torch
from ase import Atoms
from torch_sim.integrators import nve
from torch_sim.io import atoms_to_state
from posterion_client import RetryPolicy
from posterion_client.torchsim import PosterionModel

water = [[0.0, 0.1, 0.2], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]]
systems = [Atoms(sys.argv[2], positions=water), Atoms("H2", positions=water[:2])]
model = PosterionModel(sys.argv[1], retry=RetryPolicy(budget_s=60.0))
init, update = nve(
    model=model,
    dt=torch.tensor(1e-4, dtype=torch.float64),
    kT=torch.tensor(0.0, dtype=torch.float64),
)
moving = init(atoms_to_state(systems, torch.device("cpu"), torch.float64))
with open("energies", "w") as lines:
    for _ in range({N_STEPS}):
        moving = update(moving)
        print(moving.energy.tolist(), file=lines, flush=True)
        time.sleep(0.002)
"""

_BATCHES = """
import json, sys
import torch
import torch_sim as ts
from ase.build import molecule
from posterion_client.torchsim import PosterionModel

frames = []
for seed in range(6):
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=seed)
    frames.append(atoms)
model = PosterionModel(sys.argv[1])
batcher = ts.BinningAutoBatcher(
    model, memory_scales_with=model.memory_scales_with, max_memory_scaler=27
)
together = ts.integrate(
    frames, model, integrator=ts.nve, n_steps=4, temperature=1e-9, timestep=0.0005
)
found = {"together": [together.energy.tolist(), model.n_requests]}
batched = ts.integrate(
    frames, model, integrator=ts.nve, n_steps=4, temperature=1e-9, timestep=0.0005,
    autobatcher=batcher,
)
found["batched"] = [batched.energy.tolist(), model.n_requests - found["together"][1]]
relaxed = ts.optimize(
    frames, model, optimizer=ts.optimizers.fire, max_steps=60,
    convergence_fn=ts.generate_force_convergence_fn(force_tol=0.2, include_cell_forces=False),
    autobatcher=ts.InFlightAutoBatcher(
        model, memory_scales_with=model.memory_scales_with, max_memory_scaler=27
    ),
)
found["relaxed"] = bool((relaxed.energy < together.energy).all())

state = ts.io.atoms_to_state(frames[:2], torch.device("cpu"), torch.float32)
fields = {
    name: getattr(state, name)
    for name in ("positions", "cell", "pbc", "atomic_numbers", "system_idx")
}
single = PosterionModel(sys.argv[1], dtype=torch.float32)
found["single"] = {name: str(value.dtype) for name, value in single(fields).items()}

for atoms in frames:
    atoms.set_cell([8.0, 8.0, 8.0])
    atoms.pbc = True
pressed = ts.integrate(
    frames, PosterionModel(sys.argv[1], stress=True), integrator=ts.npt_langevin, n_steps=3,
    temperature=300, timestep=0.0005, external_pressure=0.0,
)
found["moved"] = bool((pressed.cell.diagonal(dim1=1, dim2=2) != 8.0).all())
print(json.dumps(found))
"""


def run_of(folder: Path, url: str, formula: str = "OH2") -> WatchedRun:
    return WatchedRun("torchsim", _RUN, folder, url, formula)


def test_autobatchers_mappings_and_pressure(bundled_service: Service, tmp_path: Path) -> None:
    done = run_in_environment("torchsim", ["-c", _BATCHES, bundled_service.url], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    energies, n_requests = found["together"]
    assert n_requests == 5
    assert found["batched"][0] == pytest.approx(energies, abs=1e-3)
    assert found["batched"][1] == 10  # two batches of three
    assert found["relaxed"]
    assert set(found["single"].values()) == {"torch.float32"}
    assert found["moved"]


def test_an_element_it_does_not_know_names_the_system(tmp_path: Path) -> None:
    with spring_service() as service:
        line = run_of(tmp_path, service.url, "UH2").failure()
    assert "unsupported-element (structure 0)" in line


def test_a_number_that_is_not_finite_ends_a_run(tmp_path: Path) -> None:
    with spring_service() as service:
        run = run_of(tmp_path, service.url)
        until(lambda: len(run.energies()) > 10)
        service.backend.poison = math.nan
        assert "non-finite-result" in run.failure()
    assert len(run.energies()) < N_STEPS


def test_a_restart_is_waited_out(tmp_path: Path) -> None:
    with spring_service() as first:
        right = run_of(tmp_path, first.url).finished()
        run = run_of(tmp_path, first.url)
        until(lambda: len(run.energies()) > 10)
    assert len(run.energies()) < N_STEPS
    with spring_service(port=first.port):
        assert run.finished() == right
    assert len(right) == N_STEPS


def test_another_sample_set_is_not_gone_on_with(tmp_path: Path) -> None:
    with spring_service() as first:
        run = run_of(tmp_path, first.url)
        until(lambda: len(run.energies()) > 10)
    with spring_service(RenewedBackend(), port=first.port):
        assert "cannot go on with another potential" in run.failure()
