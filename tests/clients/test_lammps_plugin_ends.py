"""How runs with the LAMMPS plugin end: by one line, or not at all where a restart is waited out."""

import re
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from posterion_client.selftest._native import Build
from tests.support.fake_backend import OLDER, STABLE, SpringBackend
from tests.support.lammps_plugin import NVE, errors, run_lmp, script
from tests.support.lammps_scripts import rows
from tests.support.md_codes import environment_python
from tests.support.native_jobs import SlowSprings
from tests.support.spring_service import spring_service

pytestmark = pytest.mark.clients


class TestFailures:
    """Each one is a line in LAMMPS's own log and an exit status, on one rank and on two."""

    @pytest.mark.parametrize("ranks", [1, 2])
    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("http://127.0.0.1:[0-9]+", "http://127.0.0.1:9", "connection-failed: no connection"),
            ("budget 60", "budget 60 model nope version stable", "unknown-model: "),
            ("budget 60", f"budget 60 digest {OLDER}", "version-moved: "),
            ("elements C H O", "elements C H U", "unsupported-element: the model has not seen"),
            ("elements C H O", "elements C H", "3 atom types, got budget"),
            ("elements C H O", "elements C H Qq", "3 atom types, got Qq"),
            ("elements C H O", "elements C H O nonsense 1", "keyword nonsense"),
            ("units metal", "units si", "needs units metal or real"),
            ("fix p all", "group c type 1\nfix p c", "must be of the group all"),
            ("fix nve", "run_style respa 2 2\nfix nve", "run_style respa"),
            ("fix nve", "group g id 4\ndelete_atoms group g compress no\nfix nve", "from 1 to"),
        ],
    )
    def test_it_cannot_be_done(
        self, plugin: Path, tmp_path: Path, ranks: int, old: str, new: str, said: str
    ) -> None:
        with spring_service() as service:
            text = script(plugin, service.url, NVE.format(n_steps=5))
            text, n_changed = re.subn(old, new, text)
            assert n_changed == 1
            done = run_lmp(text.replace("budget 60", "budget 0"), tmp_path, ranks=ranks)
        assert done.returncode != 0, done.stdout
        (line,) = errors(tmp_path)
        assert said in line

    @pytest.mark.parametrize("ranks", [1, 2])
    def test_a_number_is_not_finite(self, plugin: Path, tmp_path: Path, ranks: int) -> None:
        with spring_service(SpringBackend(poison=float("nan"))) as service:
            text = script(plugin, service.url, NVE.format(n_steps=5))
            done = run_lmp(text, tmp_path, ranks=ranks)
        assert done.returncode != 0
        (line,) = errors(tmp_path)
        assert "fix posterion: non-finite-result: " in line

    @pytest.mark.parametrize("ranks", [1, 2])
    def test_atoms_are_lost_between_runs(self, plugin: Path, tmp_path: Path, ranks: int) -> None:
        gone = "group gone id 9\ndelete_atoms group gone compress yes\nrun 5"
        with spring_service() as service:
            text = script(plugin, service.url, NVE.format(n_steps=5), gone)
            done = run_lmp(text, tmp_path, ranks=ranks)
        assert done.returncode != 0
        (line,) = errors(tmp_path)
        assert "the run began with 9 atoms, now it has 8" in line

    def test_another_lammps(self, tmp_path: Path) -> None:
        settings = {"PYTHON": str(environment_python("lammps")), "LAMMPS_NUMBER": "20240829"}
        build = Build("lammps", settings)
        path = build.made("posterionplugin.so")
        done = run_lmp(script(path, "http://127.0.0.1:9"), tmp_path)
        assert done.returncode != 0
        assert "posterionplugin.so was compiled for LAMMPS 20240829, this is 20" in done.stdout
        assert "Unrecognized fix style 'posterion'" in done.stdout


@pytest.mark.parametrize("gone", [False, True])
def test_a_restart_is_waited_out_unless_the_version_is_gone(
    plugin: Path, tmp_path: Path, gone: bool
) -> None:
    class Promoted(SpringBackend):
        def _digest(self, name: str, version: str | None) -> str:
            return super()._digest(name, version if version is None or not gone else "gone")

    def go(url: str) -> subprocess.CompletedProcess[str]:
        commands = "fix nve all nve\ntimestep 1e-6\nrun 1000"
        return run_lmp(script(plugin, url, commands, every=250), tmp_path, ranks=2)

    first, second = SlowSprings(), Promoted()
    results: list[subprocess.CompletedProcess[str]] = []
    with spring_service(first) as service:
        undisturbed = go(service.url)
        n_before = len(first.calls)
        thread = threading.Thread(target=lambda: results.append(go(service.url)))
        thread.start()
        deadline = time.monotonic() + 60.0
        while len(first.calls) < n_before + 50 and time.monotonic() < deadline:
            time.sleep(0.001)
    with spring_service(second, port=service.port):
        thread.join(240)
    (done,) = results
    if gone:
        assert done.returncode != 0
        (line,) = errors(tmp_path)
        assert f"version-moved: the run began with version {STABLE} of springs" in line
    else:
        assert done.returncode == 0, done.stdout + done.stderr
        assert 0 < len(second.calls) < 1000
        assert np.array_equal(rows(done.stdout), rows(undisturbed.stdout))
