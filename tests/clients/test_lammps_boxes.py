"""LAMMPS's pressure in boxes that are not periodic in all directions."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.clients.test_lammps import SCRIPT, run_script
from tests.support.lammps_scripts import rows
from tests.support.services import Service

pytestmark = pytest.mark.clients


def test_pressures_of_boxes_that_are_not_periodic(bundled_service: Service, tmp_path: Path) -> None:
    """In free space the virial is that of the forces; a slab has none, and the log says so."""
    free = SCRIPT.format(units="metal").replace("boundary p p p", "boundary f f f")
    free = re.sub("region box .*", "region box block -9 15 -9 15 -9 15 units box", free)
    more = "compute virial all pressure NULL virial\nthermo_style custom step pe c_virial[*]\n"
    more += "thermo_modify format float %.12g\n"
    dump = "dump d all custom 1 out.dump id x y z fx fy fz\n"
    dump += "dump_modify d sort id format float %.17g\nrun 0\n"
    done = run_script(free + more + dump, bundled_service.url, tmp_path, "--precision", "float64")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (tmp_path / "out.dump").read_text().splitlines()[9:]
    table = np.array([[float(value) for value in line.split()] for line in lines])
    virial = table[:, 1:4].T @ table[:, 4:7] * 1.6021765e6 / 24.0**3
    expected = [virial[i, j] for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))]
    assert np.allclose(rows(done.stdout)[0, 2:], expected, rtol=1e-5, atol=1e-3)
    assert abs(virial).max() > 1.0

    slab = run_script(
        free.replace("boundary f f f", "boundary p p f") + "run 0\n", bundled_service.url, tmp_path
    )
    assert slab.returncode == 0, slab.stdout + slab.stderr
    assert "WARNING: posterion: no stress in this box" in (tmp_path / "log.lammps").read_text()
