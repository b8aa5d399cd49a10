"""The MDI engine with real drivers: certified by every method, ended by failures."""

import json
import os
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule

from posterion_client import Client, PredictOptions
from posterion_client.mdi import plugin_folder
from tests.support.certificates import certificate_of, deviation
from tests.support.md_codes import environment_python, run_in_environment
from tests.support.services import Service, running_service

pytestmark = pytest.mark.clients

CELL = [[6.8, 0.0, 0.0], [1.1, 5.8, 0.0], [0.7, -0.6, 5.2]]

DRIVER = """
import json, sys
from mpi4py import MPI
import mdi

options, plugin, talk = json.load(open(sys.argv[1]))
mdi.MDI_Init("-role DRIVER -name driver " + options)
if plugin is None:
    comm = mdi.MDI_Accept_communicator()
else:
    comm = mdi.MDI_Open_plugin("posterion_mdi", plugin, MPI.COMM_WORLD).value
for command, *more in talk:
    kind = {"i": mdi.MDI_INT, "d": mdi.MDI_DOUBLE, "c": mdi.MDI_CHAR}.get(more[0] if more else "")
    if command == "?":
        print(json.dumps(mdi.MDI_Check_command_exists("@DEFAULT", more[0], comm)), flush=True)
        continue
    mdi.MDI_Send_command(command, comm)
    if command[0] == ">":
        mdi.MDI_Send(more[1], len(more[1]), kind, comm)
    elif command[0] == "<":
        print(json.dumps(mdi.MDI_Recv(more[1], kind, comm)), flush=True)
mdi.MDI_Send_command("EXIT", comm)
if plugin is not None:
    mdi.MDI_Close_plugin(comm)
"""


def talked(
    talk: Sequence[Sequence[object]], url: str, folder: Path, *settings: str, method: str = "MPI"
) -> subprocess.CompletedProcess[str]:
    """Let a driver say something to an engine with float64."""
    python = str(environment_python("mdi"))
    settings = ("--url", url, "--precision", "float64", "--retry-s", "20", *settings)
    said = folder / "said.json"
    if method == "LINK":
        plugin = f'-mdi "-role ENGINE -name posterion -method LINK" {" ".join(settings)}'
        options = f"-method LINK -plugin_path {plugin_folder()}"
        said.write_text(json.dumps([options, plugin, talk]))
        client = str(plugin_folder().parents[2])
        path = os.pathsep.join([str(plugin_folder()), client])
        return run_in_environment(
            "mdi", ["-c", DRIVER, str(said)], cwd=folder, variables={"PYTHONPATH": path}
        )
    engine = [
        python, "-m", "posterion_client", "mdi-engine",
        "-mdi", "-role ENGINE -name posterion -method MPI", *settings,
    ]  # fmt: skip
    said.write_text(json.dumps(["-method MPI", None, talk]))
    driver = [python, "-c", DRIVER, str(said)]
    mpiexec = str(Path(python).with_name("mpiexec"))
    program = [mpiexec, "-n", "1", *driver, ":", "-n", "1", *engine]
    launcher = "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"
    return run_in_environment("mdi", ["-c", launcher, *program], cwd=folder, timeout_s=120.0)


def begun(atoms: Atoms) -> list[list[object]]:
    """What a driver says first."""
    talk: list[list[object]] = [
        [">NATOMS", "i", [len(atoms)]],
        [">ELEMENTS", "i", atoms.numbers.tolist()],
        [">COORDS", "d", (atoms.positions / units.Bohr).ravel().tolist()],
    ]
    if atoms.cell.any():
        talk.append([">CELL", "d", (atoms.cell.array / units.Bohr).ravel().tolist()])
    return talk


def answers(done: subprocess.CompletedProcess[str]) -> list[Any]:
    """What the driver received."""
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def ethanol() -> Atoms:
    """With its elements out of order."""
    atoms: Atoms = molecule("CH3CH2OH")[[3, 0, 8, 2, 4, 1, 5, 7, 6]]
    atoms.rattle(0.02, seed=3)
    return atoms


def test_it_is_certified(bundled_service: Service, tmp_path: Path) -> None:
    certificate = certificate_of("mdi", bundled_service.url, tmp_path)
    assert deviation(certificate, "total energy against ASE") <= 1e-9
    assert "skipped" not in {check["verdict"] for check in certificate["checks"]}


@pytest.mark.parametrize("method", ["MPI", "LINK"])
def test_a_driver_gets_what_the_service_says(
    bundled_service: Service, tmp_path: Path, ethanol: Atoms, method: str
) -> None:
    ethanol.set_cell(CELL)
    ethanol.center()
    ethanol.pbc = True
    asked: list[list[object]] = [
        ["<ENERGY", "d", 1], ["<PE", "d", 1], ["<FORCES", "d", 27], ["<STRESS", "d", 9],
        ["<UNCERTAINTY", "d", 4], ["<FORCES_STD", "d", 9], ["<NATOMS", "i", 1],
        ["<ELEMENTS", "i", 9], ["<CELL", "d", 9], ["<@", "c", 256], ["SCF"],
    ]  # fmt: skip
    done = talked([*begun(ethanol), *asked], bundled_service.url, tmp_path, method=method)
    found = answers(done)
    energy, pe, forces, stress, uncertainty, std, n_atoms, numbers, cell, node = found
    with Client(bundled_service.url) as client:
        right = client.predict(ethanol, options=PredictOptions(stress=True, precision="float64"))
    # Constants of MDI have eight digits more than enough for forces, not for total energies.
    assert energy == pe == pytest.approx(right.energy / units.Hartree, rel=1e-7)
    assert np.allclose(
        np.reshape(forces, (9, 3)), right.forces * units.Bohr / units.Hartree, atol=1e-7
    )
    assert right.stress is not None
    virial = -right.stress * units.Bohr**3 / units.Hartree
    assert np.allclose(np.reshape(stress, (3, 3)), virial, rtol=1e-6, atol=1e-6 * abs(virial).max())
    assert right.uncertainty is not None
    spread = right.uncertainty.forces
    assert uncertainty[0] * units.Hartree == pytest.approx(
        right.uncertainty.energy.epistemic, rel=1e-5
    )
    assert uncertainty[1] * units.Hartree / units.Bohr == pytest.approx(spread.max, rel=1e-5)
    assert max(std) == pytest.approx(uncertainty[1])
    assert uncertainty[3] in (0.0, 1.0, 2.0)
    assert (n_atoms, numbers, node) == (9, ethanol.numbers.tolist(), "@DEFAULT")
    assert np.allclose(np.reshape(cell, (3, 3)) * units.Bohr, CELL)


def test_a_box_around_a_molecule_means_nothing_where_so_told(
    bundled_service: Service, tmp_path: Path, ethanol: Atoms
) -> None:
    ethanol.set_cell(CELL)
    found = {
        settings: answers(
            talked([*begun(ethanol), ["<PE", "d", 1]], bundled_service.url, tmp_path, *settings)
        )
        for settings in ((), ("--isolated",))
    }
    with Client(bundled_service.url) as client:
        right = client.predict(ethanol, options=PredictOptions(precision="float64")).energy
    assert found[("--isolated",)][0] == pytest.approx(right / units.Hartree, rel=1e-9, abs=2e-6)
    assert abs(found[()][0] - found[("--isolated",)][0]) > 1e-5


def test_types_have_elements_where_they_are_given(
    bundled_service: Service, tmp_path: Path, ethanol: Atoms
) -> None:
    types = [{1: 1, 6: 2, 8: 3}[number] for number in ethanol.numbers.tolist()]
    start = begun(ethanol)
    start[1] = [">TYPES", "i", types]
    talk: list[list[object]] = [["?", ">TYPES"], *start, ["<ELEMENTS", "i", 9]]
    done = talked(talk, bundled_service.url, tmp_path, "--elements", "H", "C", "O")
    assert answers(done) == [1, ethanol.numbers.tolist()]
    talk = [["?", ">TYPES"], *start]
    refused = talked(talk, bundled_service.url, tmp_path)
    assert refused.stdout.splitlines()[0] == "0"
    assert refused.returncode != 0
    assert "say with --elements which element each type is" in refused.stderr


class TestFailures:
    """Each is one line and an exit status of the whole mpiexec; no driver waits for ever."""

    @pytest.mark.parametrize("method", ["MPI", "LINK"])
    @pytest.mark.parametrize(
        ("settings", "talk", "said"),
        [
            (("--url", "http://127.0.0.1:9", "--retry-s", "0"), [], "connection-failed: no connec"),
            (("--digest", "sha256:" + "0" * 64), [], "version-moved: "),
            ((), [[">NATOMS", "i", [8]]], "the engine began with 9 atoms, the driver now sends 8"),
            ((), [[">ELEMENTS", "i", [8] * 9]], "the elements of the atoms cannot change"),
            ((), [[">COORDS", "d", [float("nan")] * 27]], "the position of atom 0 is not finite"),
            ((), [["<STRESS", "d", 9]], "<STRESS exists only where all directions are periodic"),
            ((), [["<CHARGES", "d", 9]], "the command <CHARGES is not known"),
        ],
    )
    def test_the_engine_cannot_answer(
        self,
        bundled_service: Service,
        tmp_path: Path,
        ethanol: Atoms,
        method: str,
        settings: tuple[str, ...],
        talk: list[list[object]],
        said: str,
    ) -> None:
        talk = [*begun(ethanol), *talk, ["<PE", "d", 1]]
        done = talked(talk, bundled_service.url, tmp_path, *settings, method=method)
        assert done.returncode != 0
        (line,) = [line for line in done.stderr.splitlines() if "mdi-engine: " in line]
        assert said in line

    def test_an_unknown_element(
        self, bundled_service: Service, tmp_path: Path, ethanol: Atoms
    ) -> None:
        ethanol.numbers[0] = 54
        done = talked([*begun(ethanol), ["<PE", "d", 1]], bundled_service.url, tmp_path)
        assert done.returncode != 0
        assert "mdi-engine: unsupported-element: bank ethanol knows" in done.stderr

    def test_options_that_mdi_refuses(self, bundled_service: Service, tmp_path: Path) -> None:
        for options in ([], ["-mdi", "-role ENGINE"]):
            done = run_in_environment(
                "mdi", ["-m", "posterion_client", "mdi-engine", *options], cwd=tmp_path
            )
            assert done.returncode == 2


def test_a_restart_of_the_service_is_waited_out(tmp_path: Path, ethanol: Atoms) -> None:
    moves = []
    for step in range(100):
        ethanol.positions[0, 2] += 0.0002 * step / 100
        moves += [begun(ethanol)[2], ["<PE", "d", 1]]
    talk = [*begun(ethanol), *moves]
    options = ("--in-process", "--device", "cpu")
    results: list[subprocess.CompletedProcess[str]] = []
    with running_service(*options) as first:
        url = first.url
        undisturbed = answers(talked(talk, url, tmp_path, method="LINK"))
        retry = ("--retry-s", "120")
        thread = threading.Thread(
            target=lambda: results.append(talked(talk, url, tmp_path, *retry, method="LINK"))
        )
        thread.start()
        thread.join(5.0)
        assert thread.is_alive(), "the run was over before the service was ended"
        first.ask_to_end()
        first.wait_for_end()
    with running_service(*options, "--port", url.rpartition(":")[2]):
        thread.join(120.0)
    assert answers(results[0]) == undisturbed
