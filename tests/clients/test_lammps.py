"""LAMMPS on the service: certified, the same on two ranks, halted by flags, ended by failures."""

import re
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

from posterion_client import Client, Structure
from tests.support.certificates import certificate_of, deviation
from tests.support.lammps_scripts import TRICLINIC, rows
from tests.support.md_codes import environment_python, run_in_environment
from tests.support.services import Service, running_service

pytestmark = pytest.mark.clients

SCRIPT = (
    TRICLINIC
    + """
fix posterion all external pf/callback 1 1
fix std all property/atom d_posterion_std
"""
)

THERMO = """
thermo 10
thermo_modify norm no format float %.12g
thermo_style custom step pe etotal press pxy f_posterion[1] f_posterion[2] f_posterion[4]
"""


def run_script(
    text: str, url: str, folder: Path, *arguments: str, ranks: int = 1
) -> subprocess.CompletedProcess[str]:
    """Run a script by the command line, with float64 unless told otherwise."""
    script = folder / "in.test"
    script.write_text(text)
    command = [
        "-m", "posterion_client", "lammps", str(script), "--elements", "C", "H", "O",
        "--url", url, *arguments,
    ]  # fmt: skip
    if ranks == 1:
        return run_in_environment("lammps", command, cwd=folder)
    python = environment_python("lammps")
    launcher = "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"
    program = [str(python.with_name("mpiexec")), "-n", str(ranks), str(python), *command]
    return run_in_environment("lammps", ["-c", launcher, *program], cwd=folder)


def test_it_is_certified(bundled_service: Service, tmp_path: Path) -> None:
    certificate = certificate_of("lammps", bundled_service.url, tmp_path)
    assert deviation(certificate, "total energy against ASE") <= 1e-6
    assert "skipped" not in {check["verdict"] for check in certificate["checks"]}


def test_two_ranks_print_what_one_prints(bundled_service: Service, tmp_path: Path) -> None:
    text = SCRIPT.format(units="metal") + THERMO + "timestep 0.0005\nfix nve all nve\nrun 50\n"
    outputs = []
    for ranks in (1, 2):
        done = run_script(
            text, bundled_service.url, tmp_path, "--precision", "float64", ranks=ranks
        )
        assert done.returncode == 0, done.stdout + done.stderr
        outputs.append(rows(done.stdout))
    assert len(outputs[0]) == 6
    assert np.allclose(outputs[0], outputs[1], rtol=1e-9, atol=1e-9)


def test_a_rank_may_have_no_atoms(bundled_service: Service, tmp_path: Path) -> None:
    """All atoms lie in one half of the box."""
    text = SCRIPT.format(units="metal").replace("0 6.8 0 5.8 0 5.2", "0 30 0 5.8 0 5.2")
    text += THERMO + "timestep 0.0005\nfix nve all nve\nrun 20\n"
    outputs = []
    for ranks in (1, 2):
        done = run_script(
            text, bundled_service.url, tmp_path, "--precision", "float64", ranks=ranks
        )
        assert done.returncode == 0, done.stdout + done.stderr
        outputs.append(rows(done.stdout))
    assert re.search(r"Nlocal: .* 9 max +0 min", done.stdout)
    assert np.allclose(outputs[0], outputs[1], rtol=1e-9, atol=1e-9)


def test_real_units_are_the_same_physics(bundled_service: Service, tmp_path: Path) -> None:
    found = {}
    for units, step, kcal in (("metal", 0.0005, 1.0), ("real", 0.5, 23.060549)):
        text = SCRIPT.format(units=units) + THERMO + f"timestep {step}\nfix nve all nve\nrun 20\n"
        done = run_script(text, bundled_service.url, tmp_path, "--precision", "float64")
        assert done.returncode == 0, done.stdout + done.stderr
        found[units] = rows(done.stdout)
        found[units][:, [1, 2, 5, 6]] /= kcal
        if units == "real":
            found[units][:, [3, 4]] *= 1.01325
    assert np.allclose(found["metal"][0], found["real"][0], rtol=1e-6)
    assert np.allclose(found["metal"][-1, 1], found["real"][-1, 1], rtol=1e-7)


@pytest.mark.parametrize(
    "how",
    [
        "fix npt all npt temp 300 300 0.05 tri 0 0 0.5\ntimestep 0.0005\nrun 20",
        "fix nvt all nvt temp 300 300 0.05\ntimestep 0.0005\nrun 20",
        "fix relax all box/relax tri 0.0\nmin_style cg\nminimize 0 1e-3 10 20",
    ],
)
def test_it_drives_other_ensembles_and_minimisers(
    bundled_service: Service, tmp_path: Path, how: str
) -> None:
    text = SCRIPT.format(units="metal") + THERMO + how + "\n"
    done = run_script(text, bundled_service.url, tmp_path, ranks=2)
    assert done.returncode == 0, done.stdout + done.stderr
    energies = rows(done.stdout)[:, 1]
    assert np.isfinite(energies).all()
    if "minimize" in how:
        assert energies[-1] < energies[0]


def test_uncertainty_per_atom_is_the_services(bundled_service: Service, tmp_path: Path) -> None:
    dump = "dump d all custom 1 out.dump id type x y z d_posterion_std\n"
    dump += "dump_modify d sort id format float %.12g\nrun 0\n"
    text = SCRIPT.format(units="metal") + THERMO + dump
    done = run_script(text, bundled_service.url, tmp_path, "--precision", "float64", ranks=2)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (tmp_path / "out.dump").read_text().splitlines()
    table = np.array([[float(v) for v in line.split()] for line in lines[9:]])
    structure = Structure(
        numbers=np.array([0, 6, 1, 8])[table[:, 1].astype(int)],
        positions=table[:, 2:5],
        cell=[[6.8, 0, 0], [1.1, 5.8, 0], [0.7, -0.6, 5.2]],
        pbc=True,
    )
    with Client(bundled_service.url) as client:
        uncertainty = client.predict(structure).uncertainty
    assert uncertainty is not None
    right = np.sqrt((uncertainty.forces.epistemic**2).mean(axis=1))
    assert np.allclose(table[:, 5], right, rtol=1e-3)
    printed = rows(done.stdout)[0]
    assert printed[6] == pytest.approx(uncertainty.forces.max, rel=1e-3)


def test_a_flag_halts_the_run_at_its_step(bundled_service: Service, tmp_path: Path) -> None:
    """The O-H bond is stretched slowly, until a flag is raised."""
    text = (
        SCRIPT.format(units="metal")
        + THERMO.replace("thermo 10", "thermo 1")
        + "velocity all set 0 0 0\ngroup h id 3\nvelocity h set 0.0 0.0 20.0\n"
        "fix move all nve/noforce\ntimestep 0.001\nvariable level equal f_posterion[4]\n"
    )
    free = run_script(text + "run 60\n", bundled_service.url, tmp_path, "--precision", "float64")
    assert free.returncode == 0, free.stdout + free.stderr
    levels = rows(free.stdout)[:, 7]
    flagged = np.flatnonzero(levels > 0)
    halt = "fix stop all halt 1 v_level > 0 error soft\nrun 60\n"
    stopped = run_script(text + halt, bundled_service.url, tmp_path, "--precision", "float64")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert flagged.size > 0
    # fix halt looks at the ends of steps, so a flag of step 0 is seen at step 1.
    first = next(int(step) for step in flagged if step > 0)
    assert rows(stopped.stdout)[-1, 0] == first
    hard = run_script(
        text + halt.replace("soft", "hard"), bundled_service.url, tmp_path, "--precision", "float64"
    )
    assert hard.returncode != 0
    assert "ERROR: Fix halt condition" in hard.stdout


class TestFailures:
    """Each one is a line in LAMMPS's own log and an exit status, on one rank and on two."""

    RUN = "fix nve all nve\ntimestep 0.0005\nrun 5\n"

    @pytest.mark.parametrize("ranks", [1, 2])
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("--url", "http://127.0.0.1:9", "--retry-s", "0"), "connection-failed: no connection"),
            (("--elements", "C", "H", "Xe"), "unsupported-element: bank ethanol knows"),
            (("--digest", "sha256:" + "0" * 64), "version-moved: "),
            (("--elements", "C", "H"), "elements names 2 atom types, the script has 3"),
            (("--model", "nope"), "unknown-model: there is no model 'nope'"),
        ],
    )
    def test_the_service_cannot_answer(
        self,
        bundled_service: Service,
        tmp_path: Path,
        ranks: int,
        arguments: tuple[str, ...],
        said: str,
    ) -> None:
        text = SCRIPT.format(units="metal") + self.RUN
        done = run_script(text, bundled_service.url, tmp_path, *arguments, ranks=ranks)
        assert done.returncode != 0
        log = (tmp_path / "log.lammps").read_text()
        (line,) = [line for line in log.splitlines() if "posterion:" in line]
        assert line.startswith("ERROR")
        assert said in line

    def test_atoms_are_lost_between_runs(self, bundled_service: Service, tmp_path: Path) -> None:
        text = (
            SCRIPT.format(units="metal")
            + self.RUN
            + "group gone id 9\ndelete_atoms group gone compress yes\nrun 5\n"
        )
        done = run_script(text, bundled_service.url, tmp_path)
        assert done.returncode != 0
        assert "the run began with 9 atoms, now it has 8" in (tmp_path / "log.lammps").read_text()

    def test_a_script_without_the_fix(self, bundled_service: Service, tmp_path: Path) -> None:
        done = run_script("units metal\nrun 0\n", bundled_service.url, tmp_path)
        assert done.returncode == 2
        assert "fix posterion all external pf/callback 1 1" in done.stderr

    def test_other_units(self, bundled_service: Service, tmp_path: Path) -> None:
        done = run_script(SCRIPT.format(units="si"), bundled_service.url, tmp_path)
        assert done.returncode == 2
        assert "units must be metal or real" in done.stderr

    def test_a_wrong_command_ends_with_its_own_error(
        self, bundled_service: Service, tmp_path: Path
    ) -> None:
        text = SCRIPT.format(units="metal") + "nonsense\n"
        done = run_script(text, bundled_service.url, tmp_path)
        assert done.returncode == 1
        assert "Unknown command: nonsense" in done.stdout + done.stderr


def test_a_restart_of_the_service_is_waited_out(tmp_path: Path) -> None:
    text = SCRIPT.format(units="metal") + THERMO + "fix nve all nve\ntimestep 0.0005\nrun 400\n"
    options = ("--in-process", "--device", "cpu")
    with running_service(*options) as first:
        url = first.url
        undisturbed = run_script(text, url, tmp_path, "--precision", "float64")
        results: list[subprocess.CompletedProcess[str]] = []
        thread = threading.Thread(
            target=lambda: results.append(run_script(text, url, tmp_path, "--precision", "float64"))
        )
        thread.start()
        log = tmp_path / "log.lammps"
        for _ in range(600):
            thread.join(0.1)
            if log.exists() and len(rows(log.read_text())) > 1:
                break
        first.ask_to_end()
        first.wait_for_end()
    with running_service(*options, "--port", url.rpartition(":")[2]):
        thread.join(240)
    (disturbed,) = results
    assert disturbed.returncode == 0, disturbed.stdout + disturbed.stderr
    assert np.array_equal(rows(disturbed.stdout), rows(undisturbed.stdout))
