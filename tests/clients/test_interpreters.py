"""The client in every interpreter that it promises, with its few dependencies and nothing else."""

import json
from pathlib import Path

import pytest

from tests.support.certificates import certificate_of
from tests.support.md_codes import environments_folder, run_in_environment
from tests.support.services import Service

pytestmark = pytest.mark.clients

_PROGRAM = """
import asyncio, json, sys
import numpy as np
from ase.build import molecule
from posterion_client import AsyncClient, Client, PredictOptions, Structure
from posterion_client.md import BatchSession, MDSession

url = sys.argv[1]
atoms = molecule("CH3CH2OH")
structure = Structure.from_ase(atoms)
exact = PredictOptions(precision="float64")
found = {}
with Client(url) as client:
    found["sync"] = client.predict(structure, options=exact).energy
    found["many"] = float(client.predict_many([structure] * 3, options=exact)[2].energy)


async def asked():
    async with AsyncClient(url) as client:
        return (await client.predict(structure, options=exact)).energy


found["async"] = asyncio.run(asked())
for transport in ("http", "websocket"):
    with MDSession(atoms.numbers, url=url, transport=transport, precision="float64") as session:
        found[transport] = float(session.evaluate(atoms.positions).energy)
with BatchSession(url=url, precision="float64") as batches:
    twice = batches.evaluate(
        np.tile(atoms.numbers, 2), np.tile(atoms.positions, (2, 1)), [len(atoms)] * 2
    )
    found["batch"] = float(twice.energies[1])
print(json.dumps(found))
"""


def interpreters() -> list[str]:
    """Names of the environments that hold an interpreter and the client alone."""
    return sorted(path.name for path in environments_folder().glob("python3.*"))


@pytest.mark.parametrize("name", ["python3.10", "python3.12", "python3.13"])
class TestInterpreters:
    @pytest.fixture(autouse=True)
    def present(self, name: str) -> None:
        if name not in interpreters():
            pytest.skip(f"no interpreter {name} here")

    def test_every_way_to_ask_gives_one_number(
        self, bundled_service: Service, tmp_path: Path, name: str
    ) -> None:
        done = run_in_environment(name, ["-c", _PROGRAM, bundled_service.url], cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert len(found) == 6
        assert max(found.values()) - min(found.values()) < 1e-9

    def test_ase_is_certified(self, bundled_service: Service, tmp_path: Path, name: str) -> None:
        certificate_of("ase", bundled_service.url, tmp_path, environment=name)
