"""The inputs of the guides run as they are printed."""

import re
from pathlib import Path

import pytest

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
