"""An MDI driver that moves atoms by velocity Verlet: ``python -m ... FOLDER``.

Reads ``driver.json`` (``options`` of MDI, and for a plugin its ``plugin`` options) and
``job.npz`` from the folder, and leaves ``trace.npz`` there. Lengths, energies and masses are
Angstrom, eV and u on this side of MDI; constants are those of CODATA 2014, which ASE has.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posterion_client.mdi._link import MdiLibrary, MdiLink, mdi_library

FloatArray = NDArray[np.float64]

_FS: Final = 1e-5 * (1.6021766208e-19 / 1.660539040e-27) ** 0.5
"""One fs in Angstrom (u/eV)^(1/2)."""


class Driver:
    """Asks an engine about atoms.

    Args:
        library: Begun as a driver.
        comm: The engine.
    """

    def __init__(self, library: MdiLibrary, comm: int) -> None:
        self._library = library
        self._link = MdiLink(library, comm)
        self._comm = comm
        self._bohr = library.MDI_Conversion_factor("bohr", "angstrom")
        self._hartree = library.MDI_Conversion_factor("hartree", "electron_volt")

    def send(self, command: str, values: NDArray[np.generic] | None = None) -> None:
        """Send a command, and the numbers that belong to it."""
        library = self._library
        library.MDI_Send_command(command, self._comm)
        if values is None:
            return
        integers = np.issubdtype(values.dtype, np.integer)
        kind = library.MDI_INT if integers else library.MDI_DOUBLE
        flat = np.ascontiguousarray(values).reshape(-1)
        library.MDI_Send(flat, len(flat), kind, self._comm)

    def ask(self, command: str, count: int) -> FloatArray:
        """Send a command, and receive so many numbers."""
        self._library.MDI_Send_command(command, self._comm)
        return self._link.floats(count)

    def begin(self, numbers: NDArray[np.integer], cell: FloatArray) -> None:
        """Say which atoms there are."""
        self.send(">NATOMS", np.array([len(numbers)]))
        self.send(">ELEMENTS", numbers)
        if cell.size:
            self.send(">CELL", cell / self._bohr)

    def move(self, positions: FloatArray) -> None:
        """Say where the atoms are."""
        self.send(">COORDS", positions / self._bohr)

    def energy(self) -> float:
        """In eV."""
        return float(self.ask("<ENERGY", 1)[0]) * self._hartree

    def forces(self, n_atoms: int) -> FloatArray:
        """In eV/Angstrom."""
        return self.ask("<FORCES", 3 * n_atoms).reshape(n_atoms, 3) * (self._hartree / self._bohr)

    def stress(self) -> FloatArray:
        """In eV/Angstrom^3, positive = tension."""
        return -self.ask("<STRESS", 9).reshape(3, 3) * (self._hartree / self._bohr**3)

    def largest_spread(self) -> float:
        """In eV/Angstrom."""
        return float(self.ask("<UNCERTAINTY", 4)[1]) * (self._hartree / self._bohr)


def trajectory(driver: Driver, job: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Run a job.

    Args:
        driver: Of an engine.
        job: The arrays of a `posterion_client.selftest.Job`.

    Returns:
        The arrays of a trace.
    """
    positions, masses = job["positions"].copy(), job["masses"][:, None]
    velocities = job["velocities"] / _FS
    step = float(job["timestep_fs"]) * _FS
    n_atoms = len(positions)
    driver.begin(job["numbers"].astype(np.int32), job["cell"])
    driver.move(positions)
    potential = [driver.energy()]
    forces = start = driver.forces(n_atoms)
    found = {"forces": start, "spread": np.array(driver.largest_spread())}
    if job["cell"].size:
        found["stress"] = driver.stress()
    kinetic = [0.5 * float((masses * velocities**2).sum())]
    for _ in range(int(job["n_steps"])):
        velocities += 0.5 * step * forces / masses
        positions += step * velocities
        driver.move(positions)
        potential.append(driver.energy())
        forces = driver.forces(n_atoms)
        velocities += 0.5 * step * forces / masses
        kinetic.append(0.5 * float((masses * velocities**2).sum()))
    found["potential"] = np.array(potential)
    found["total"] = found["potential"] + np.array(kinetic)
    found["positions"] = positions
    return found


def main(folder: Path) -> None:
    """Run the job of a folder.

    Args:
        folder: See the module.
    """
    said = json.loads((folder / "driver.json").read_text())
    library = mdi_library()
    library.MDI_Init(said["options"])
    if said["plugin"] is None:
        comm = library.MDI_Accept_communicator()
    else:
        from mpi4py import MPI  # noqa: PLC0415

        comm = library.MDI_Open_plugin("posterion_mdi", said["plugin"], MPI.COMM_WORLD).value
    driver = Driver(library, comm)
    with np.load(folder / "job.npz") as job:
        found = trajectory(driver, job)
    driver.send("EXIT")
    if said["plugin"] is not None:
        library.MDI_Close_plugin(comm)
    np.savez(folder / "trace.npz", allow_pickle=False, **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
