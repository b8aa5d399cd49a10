"""However a run of OpenMM ends, it says so in one line, or goes on with the same numbers."""

import math
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from posterion.errors import UnknownModel
from tests.support.fake_backend import OLDER, STABLE, SpringBackend
from tests.support.md_codes import run_in_environment
from tests.support.spring_service import SpringService, spring_service
from tests.support.waiting import until

pytestmark = pytest.mark.clients

N_STEPS = 300
WATER = "numbers=(8, 1, 1)"
RUN = f"""
import sys, time
import openmm
from openmm import unit
from posterion_client.openmm import Settings, posterion_force

system = openmm.System()
for mass in (16.0, 1.0, 1.0):
    system.addParticle(mass)
system.addForce(posterion_force(Settings(url=sys.argv[1], retry_s=60.0, SETTINGS)))
context = openmm.Context(
    system, openmm.VerletIntegrator(0.00001), openmm.Platform.getPlatformByName("Reference")
)
context.setPositions([[0.0, 0.01, 0.02], [0.096, 0.0, 0.0], [-0.024, 0.093, 0.0]])
with open("energies", "w") as lines:
    for _ in range({N_STEPS}):
        context.getIntegrator().step(1)
        energy = context.getState(getEnergy=True).getPotentialEnergy()
        print(repr(energy.value_in_unit(unit.kilojoule_per_mole)), file=lines, flush=True)
        time.sleep(0.002)
"""


class _Renewed(SpringBackend):
    """The same name with another sample set only."""

    def _digest(self, name: str, version: str | None) -> str:
        if version == STABLE:
            raise UnknownModel(f"no version {version}")
        return OLDER


class Run:
    """A run in a process of its own, with what it has written so far."""

    def __init__(self, folder: Path, url: str, settings: str = WATER) -> None:
        self._folder = folder
        self._done: subprocess.CompletedProcess[str] | None = None
        self._command = ["-c", RUN.replace("SETTINGS", settings), url]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def energies(self) -> list[str]:
        path = self._folder / "energies"
        return path.read_text().splitlines() if path.exists() else []

    def end(self) -> subprocess.CompletedProcess[str]:
        self._thread.join(120)
        assert self._done is not None
        return self._done

    def _run(self) -> None:
        self._done = run_in_environment("openmm", self._command, cwd=self._folder)


def said(run: Run) -> str:
    """The line with which a run ended that could not go on."""
    done = run.end()
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if "posterion: " in line]
    assert line == done.stderr.splitlines()[-1]
    return line


def poisoned(service: SpringService) -> None:
    service.backend.poison = math.nan


@pytest.mark.parametrize(
    ("spoil", "code"), [(poisoned, "non-finite-result"), (None, "unsupported-element")]
)
def test_the_service_refuses(
    tmp_path: Path, spoil: Callable[[SpringService], None] | None, code: str
) -> None:
    settings = WATER if spoil else "numbers=(92, 1, 1)"
    with spring_service() as service:
        run = Run(tmp_path, service.url, settings)
        if spoil:
            until(lambda: len(run.energies()) > 10)
            spoil(service)
        line = said(run)
    assert code in line
    assert len(run.energies()) < N_STEPS


def test_other_particles_than_numbers(tmp_path: Path) -> None:
    with spring_service() as service:
        line = said(Run(tmp_path, service.url, "numbers=(8, 1)"))
    assert "positions must have shape (1, 2, 3), got (1, 3, 3)" in line


@pytest.mark.parametrize("transport", ["websocket", "http"])
def test_a_restart_is_waited_out(tmp_path: Path, transport: str) -> None:
    settings = f"{WATER}, transport={transport!r}"
    with spring_service() as first:
        undisturbed = Run(tmp_path, first.url, settings)
        assert undisturbed.end().returncode == 0, undisturbed.end().stderr
        right = undisturbed.energies()
        (tmp_path / "energies").unlink()
        run = Run(tmp_path, first.url, settings)
        until(lambda: len(run.energies()) > 10)
    assert len(run.energies()) < N_STEPS
    with spring_service(port=first.port):
        done = run.end()
    assert done.returncode == 0, done.stderr
    assert run.energies() == right
    assert len(right) == N_STEPS


def test_another_sample_set_is_not_gone_on_with(tmp_path: Path) -> None:
    with spring_service() as first:
        run = Run(tmp_path, first.url)
        until(lambda: len(run.energies()) > 10)
    with spring_service(_Renewed(), port=first.port):
        line = said(run)
    assert "version-moved" in line
    assert "cannot go on with another potential" in line
