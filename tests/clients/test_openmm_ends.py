"""However a run of OpenMM ends, it says so in one line, or goes on with the same numbers."""

import math
from pathlib import Path

import pytest

from tests.support.md_codes import run_in_environment
from tests.support.spring_service import spring_service
from tests.support.waiting import until
from tests.support.watched_runs import RenewedBackend, WatchedRun

pytestmark = pytest.mark.clients

N_STEPS = 1000
WATER = "numbers=(8, 1, 1)"
RUN = f"""
import sys, time
import openmm
from openmm import unit
from posterion_client.openmm import Settings, posterion_force

system = openmm.System()
for mass in (16.0, 1.0, 1.0):
    system.addParticle(mass)
settings = eval("Settings(url=sys.argv[1], retry_s=60.0, " + sys.argv[2] + ")")
system.addForce(posterion_force(settings))
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


def run_of(folder: Path, url: str, settings: str = WATER) -> WatchedRun:
    return WatchedRun("openmm", RUN, folder, url, settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("numbers=(92, 1, 1)", "posterion: unsupported-element"),
        ("numbers=(8, 1)", "positions must have shape (1, 2, 3), got (1, 3, 3)"),
        (f"{WATER}, model='no'", "posterion: unknown-model"),
        (f"{WATER}, halt='later'", "halt must be"),
        (f"{WATER}, transport='pigeon'", "transport must be one of"),
    ],
)
def test_wrong_settings_say_one_line(tmp_path: Path, settings: str, said: str) -> None:
    with spring_service() as service:
        run = run_of(tmp_path, service.url, settings)
        assert said in run.failure()
    assert len(run.energies()) < N_STEPS


def test_a_number_that_is_not_finite_ends_a_run(tmp_path: Path) -> None:
    with spring_service() as service:
        run = run_of(tmp_path, service.url)
        until(lambda: len(run.energies()) > 10)
        service.backend.poison = math.nan
        assert "posterion: non-finite-result" in run.failure()
    assert len(run.energies()) < N_STEPS


@pytest.mark.parametrize("transport", ["websocket", "http"])
def test_a_restart_is_waited_out(tmp_path: Path, transport: str) -> None:
    settings = f"{WATER}, transport={transport!r}"
    with spring_service() as first:
        right = run_of(tmp_path, first.url, settings).finished()
        run = run_of(tmp_path, first.url, settings)
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
        line = run.failure()
    assert "posterion: version-moved" in line
    assert "cannot go on with another potential" in line


def test_settings_are_read_from_our_own_pickles_only(tmp_path: Path) -> None:
    """OpenMM unpickles what a System's XML holds; we do not add to that."""
    program = (
        "import io, pickle\n"
        "from posterion_client.openmm import Settings\n"
        "from posterion_client.openmm._forces import _Ours\n"
        "from posterion_client.openmm._functions import Energy\n"
        "ours = Energy(Settings(numbers=(8, 1)))\n"
        "assert _Ours(io.BytesIO(pickle.dumps(ours))).load() == ours\n"
        "_Ours(io.BytesIO(pickle.dumps(print))).load()\n"
    )
    done = run_in_environment("openmm", ["-c", program], cwd=tmp_path)
    assert done.returncode != 0
    assert "a force of Posterion does not need builtins.print" in done.stderr.splitlines()[-1]
