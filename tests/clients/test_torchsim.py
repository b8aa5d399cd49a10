"""TorchSim on the service: certified, one request per step, flags that end a run."""

import json
from pathlib import Path

import pytest

from tests.support.certificates import certificate_of, deviation
from tests.support.md_codes import run_in_environment
from tests.support.services import Service

pytestmark = pytest.mark.clients

_EIGHT_SYSTEMS = """
import json, sys
import numpy as np, torch
from ase.build import molecule
import torch_sim as ts
from torch_sim.integrators import nve
from torch_sim.io import atoms_to_state
from posterion_client.md import MDSession
from posterion_client.torchsim import PosterionModel

url = sys.argv[1]
frames = []
for seed in range(8):
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.03, seed=seed)
    frames.append(atoms)
model = PosterionModel(url, precision="float64")
state = atoms_to_state(frames, torch.device("cpu"), torch.float64)
init, update = nve(
    model=model,
    dt=torch.tensor(0.0005 * float(ts.units.MetalUnits.time), dtype=torch.float64),
    kT=torch.tensor(0.025, dtype=torch.float64),
)
moving = init(state, seed=3)
for _ in range(200):
    moving = update(moving)
alone = []
for index, atoms in enumerate(frames):
    with MDSession(atoms.numbers, url=url, precision="float64") as session:
        own = moving.positions[moving.system_idx == index].numpy()
        alone.append(session.evaluate(own).energy)
print(json.dumps({
    "n_requests": model.n_requests,
    "deviation": float(np.abs(moving.energy.numpy() - alone).max()),
    "n_flags": len(model.last.flags),
}))
"""

_FAILING = """
import sys
import torch
from ase import Atoms
from torch_sim.io import atoms_to_state
from posterion_client import RetryPolicy
from posterion_client.torchsim import PosterionModel

url, symbol, halt = sys.argv[1:]
state = atoms_to_state(
    [Atoms(symbol + "H", positions=[[0, 0, 0], [0, 0, 1.1]])], torch.device("cpu"), torch.float64
)
PosterionModel(url, halt=halt, retry=RetryPolicy(budget_s=0.0))(state)
"""


def test_it_is_certified(bundled_service: Service, tmp_path: Path) -> None:
    certificate = certificate_of("torchsim", bundled_service.url, tmp_path)
    assert deviation(certificate, "total energy against ASE") <= 1e-9
    assert "skipped" not in {check["verdict"] for check in certificate["checks"]}


def test_eight_systems_are_one_request_per_step(bundled_service: Service, tmp_path: Path) -> None:
    done = run_in_environment("torchsim", ["-c", _EIGHT_SYSTEMS, bundled_service.url], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["n_requests"] == 201
    assert found["deviation"] <= 1e-9
    assert found["n_flags"] == 8


@pytest.mark.parametrize(
    ("symbol", "halt", "said"),
    [
        ("Xe", "failed", "unsupported-element"),
        ("O", "failed", "flags of systems [0]: "),
    ],
)
def test_it_ends_with_one_clear_line(
    bundled_service: Service, tmp_path: Path, symbol: str, halt: str, said: str
) -> None:
    done = run_in_environment(
        "torchsim", ["-c", _FAILING, bundled_service.url, symbol, halt], cwd=tmp_path
    )
    assert done.returncode != 0
    assert said in done.stderr.splitlines()[-1]


def test_a_wrong_address_is_said(tmp_path: Path) -> None:
    done = run_in_environment(
        "torchsim", ["-c", _FAILING, "http://127.0.0.1:9", "O", "failed"], cwd=tmp_path
    )
    assert done.returncode != 0
    assert "connection-failed: no connection to http://127.0.0.1:9" in done.stderr.splitlines()[-1]
