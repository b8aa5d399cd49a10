"""ASE Atoms and the files they come in, as structures and labelled frames."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import ase.io
import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from posterion.errors import DatasetError
from posterion.structures.structure import Structure
from posterion.structures.units import EV_PER

KCAL_PER_MOL: Final = EV_PER["kcal/mol"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledFrame:
    """A structure with reference labels.

    Attributes:
        structure: The configuration.
        energy: Reference energy, eV.
        forces: Reference forces, ``(n_atoms, 3)``, eV/Angstrom.
    """

    structure: Structure
    energy: float
    forces: NDArray[np.float64]


def structure_from_atoms(atoms: Atoms) -> Structure:
    """Convert ASE Atoms; charge and spin come from ``atoms.info`` if present.

    Args:
        atoms: ASE Atoms, Angstrom.

    Returns:
        The checked structure.

    Raises:
        InvalidStructure: If the atoms do not form a valid structure.
    """
    pbc = tuple(bool(value) for value in atoms.pbc)
    return Structure(
        atomic_numbers=atoms.numbers,
        positions=atoms.positions,
        cell=atoms.cell.array if any(pbc) else None,
        pbc=(pbc[0], pbc[1], pbc[2]),
        charge=int(atoms.info.get("charge", 0)),
        spin_multiplicity=int(atoms.info.get("spin_multiplicity", 1)),
    )


def atoms_from_structure(structure: Structure) -> Atoms:
    """Convert to ASE Atoms, without a calculator."""
    return Atoms(
        numbers=structure.atomic_numbers,
        positions=structure.positions,
        cell=structure.cell,
        pbc=structure.pbc,
    )


def read_frames(path: Path) -> list[LabelledFrame]:
    """Read labelled frames from extxyz (or anything ASE reads) or an rMD17 npz file.

    rMD17 files hold ``nuclear_charges``, ``coords`` (Angstrom), ``energies`` (kcal/mol) and
    ``forces`` (kcal/mol/Angstrom).

    Args:
        path: The file.

    Returns:
        Frames in the order of the file.

    Raises:
        DatasetError: If the file is missing, unreadable, empty, or lacks labels.
        InvalidStructure: If a frame is not a valid structure.
    """
    if not path.is_file():
        raise DatasetError(f"{path}: expected a data file, found none")
    frames = list(_read_npz(path) if path.suffix == ".npz" else _read_ase(path))
    if not frames:
        raise DatasetError(f"{path}: expected at least one frame, found none")
    return frames


def _read_npz(path: Path) -> Iterator[LabelledFrame]:
    try:
        archive = np.load(path, allow_pickle=False)
        numbers, coordinates, energies, forces = (
            archive[key] for key in ("nuclear_charges", "coords", "energies", "forces")
        )
    except (KeyError, ValueError, OSError) as error:
        raise DatasetError(
            f"{path}: expected an rMD17 archive with nuclear_charges, coords, energies and "
            f"forces, but {error}"
        ) from error
    for positions, energy, force in zip(coordinates, energies, forces, strict=True):
        yield LabelledFrame(
            structure=Structure(
                atomic_numbers=numbers.astype(np.int64), positions=positions, cell=None
            ),
            energy=float(energy) * KCAL_PER_MOL,
            forces=np.asarray(force, dtype=np.float64) * KCAL_PER_MOL,
        )


def _read_ase(path: Path) -> Iterator[LabelledFrame]:
    try:
        images = ase.io.iread(path, index=":")
        for number, atoms in enumerate(images):
            yield _labelled(atoms, f"{path}, frame {number}")
    except (
        ValueError,
        KeyError,
        IndexError,
        StopIteration,
        ase.io.formats.UnknownFileTypeError,
    ) as error:
        raise DatasetError(f"{path}: ASE cannot read it: {error}") from error


def _labelled(atoms: Atoms, where: str) -> LabelledFrame:
    results = {} if atoms.calc is None else atoms.calc.results
    missing = [name for name in ("energy", "forces") if name not in results]
    if missing:
        raise DatasetError(
            f"{where}: expected energy (eV) and forces (eV/Angstrom) under ASE's calculator "
            f"keys, but {' and '.join(missing)} is missing"
        )
    energy, forces = float(results["energy"]), np.asarray(results["forces"], dtype=np.float64)
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        raise DatasetError(f"{where}: expected finite labels, got NaN or infinity")
    return LabelledFrame(structure=structure_from_atoms(atoms), energy=energy, forces=forces)
