"""The inputs of the guides run as they are printed."""

import re
from pathlib import Path

import pytest

from posterion_client.selftest._native import Build, run, sources
from tests.support.lammps_plugin import run_lmp
from tests.support.md_codes import REPOSITORY, run_in_environment
from tests.support.services import Service

pytestmark = pytest.mark.clients

_URL = "http://127.0.0.1:8000"


def blocks(page: str, language: str) -> list[str]:
    """The blocks of one language on a page."""
    text = (REPOSITORY / "docs/clients" / f"{page}.md").read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("page", ["openmm", "torchsim"])
def test_the_python_of_a_page_runs(bundled_service: Service, tmp_path: Path, page: str) -> None:
    program = "\n".join(blocks(page, "python")).replace(_URL, bundled_service.url)
    if page == "openmm":  # its entry point is found where the client is installed
        program = (
            "from openmmml import MLPotential\n"
            "from posterion_client.openmm import PosterionPotentialFactory\n"
            "MLPotential.registerImplFactory('posterion', PosterionPotentialFactory())\n" + program
        )
    done = run_in_environment(page, ["-c", program], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("ranks", [1, 2])
def test_the_script_of_lammps_runs(bundled_service: Service, tmp_path: Path, ranks: int) -> None:
    (script,) = blocks("lammps", "lammps")
    (tmp_path / "in.ethanol").write_text(script)
    command = ["-m", "posterion_client", "lammps", "in.ethanol", "--elements", "C", "H", "O"]
    if ranks > 1:
        # By its whole path: it looks for its helpers beside itself.
        launcher = (
            "import os, sys; there = os.path.dirname(sys.executable) + '/mpiexec'; "
            "os.execv(there, [there, '-n', '2', sys.executable, *sys.argv[1:]])"
        )
        command = ["-c", launcher, *command]
    done = run_in_environment("lammps", [*command, "--url", bundled_service.url], cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Loop time" in done.stdout
    frames = (tmp_path / "frames.dump").read_text().count("ITEM: TIMESTEP")
    assert frames == 6


@pytest.mark.parametrize("ranks", [1, 2])
def test_the_script_of_the_plugin_runs(
    bundled_service: Service, plugin: Path, tmp_path: Path, ranks: int
) -> None:
    (script,) = blocks("lammps-plugin", "lammps")
    text = script.replace(_URL, bundled_service.url).replace("./posterionplugin.so", str(plugin))
    done = run_lmp(text, tmp_path, ranks=ranks)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Loop time" in done.stdout
    assert (tmp_path / "frames.dump").read_text().count("ITEM: TIMESTEP") == 6


@pytest.mark.parametrize("language", ["c", "fortran"])
def test_the_programs_in_c_and_fortran_run(
    bundled_service: Service, tmp_path: Path, language: str
) -> None:
    build = Build("c")
    library = build.made("libposterion.a")
    (program,) = blocks("c-and-fortran", language)
    source = tmp_path / ("ask.c" if language == "c" else "ask.f90")
    source.write_text(program.replace(_URL, bundled_service.url))
    before = ["cc", "-std=c11", f"-I{sources('c')}"]
    if language == "fortran":
        before = ["gfortran", f"-I{library.parent}", str(build.made("posterion_fortran.o"))]
    warnings = ["-Wall", "-Wextra", "-Werror"]
    after = [str(library), "-lcurl", "-pthread", "-o", "ask"]
    run([before[0], *warnings, *before[1:], source.name, *after], cwd=tmp_path)
    assert "energy" in run([str(tmp_path / "ask")])
