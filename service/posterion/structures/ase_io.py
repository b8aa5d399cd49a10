"""ASE Atoms and the files they come in, as structures and labelled frames."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import ase.io
import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from posterion.errors import DatasetError, Fault, InvalidStructure
from posterion.structures.structure import Structure
from posterion.structures.units import EV_PER

KCAL_PER_MOL: Final = EV_PER["kcal/mol"]

NPZ_KEYS: Final = ("nuclear_charges", "coords", "energies", "forces")
"""Arrays of an rMD17 archive that are read; others are left alone."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledFrame:
    """A structure with reference labels.

    Attributes:
        structure: The configuration.
        energy: Reference energy, eV.
        forces: Reference forces, ``(n_atoms, 3)``, eV/Angstrom.
        level_of_theory: What the file says the labels were computed with, None if it says
            nothing.
    """

    structure: Structure
    energy: float
    forces: NDArray[np.float64]
    level_of_theory: str | None = None


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
        charge=_whole(atoms, "charge", default=0),
        spin_multiplicity=_whole(atoms, "spin_multiplicity", default=1),
    )


def _whole(atoms: Atoms, name: str, *, default: int) -> int:
    value = atoms.info.get(name, default)
    if not isinstance(value, Real) or float(value) != round(float(value)):
        detail = f"expected a whole number under info[{name!r}], got {value!r}"
        raise InvalidStructure(detail, faults=(Fault(pointer=f"/{name}", detail=detail),))
    return round(float(value))


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
        DatasetError: If the file is missing, unreadable or empty, or if a frame lacks
            finite labels or is not a valid structure; the message names file and frame.
    """
    frames = []
    for frame in read_frames_apart(path):
        if isinstance(frame, DatasetError):
            raise frame
        frames.append(frame)
    return frames


def read_frames_apart(path: Path) -> list[LabelledFrame | DatasetError]:
    """Read the same files, but let a frame that cannot be used not spoil the others.

    Args:
        path: The file.

    Returns:
        One entry per frame in the order of the file: the frame, or what is wrong with it.

    Raises:
        DatasetError: If the file as a whole is missing, unreadable or empty.
    """
    frames = list(_read_npz(path) if path.suffix == ".npz" else _read_ase(path))
    if not frames:
        raise DatasetError(f"{path}: expected at least one frame, found none")
    return frames


def _read_npz(path: Path) -> Iterator[LabelledFrame | DatasetError]:
    numbers, coordinates, energies, forces = _npz_arrays(path)
    n_frames, n_atoms = len(energies), len(numbers)
    shapes = (numbers.ndim, energies.ndim, coordinates.shape, forces.shape)
    expected = (n_frames, n_atoms, 3)
    if shapes != (1, 1, expected, expected):
        raise DatasetError(
            f"{path}: expected coords and forces of shape {expected} for {n_atoms} "
            f"nuclear_charges and {n_frames} energies, got {coordinates.shape} and {forces.shape}"
        )
    for number in range(n_frames):
        atoms = Atoms(numbers=numbers, positions=coordinates[number])
        labels = (
            float(energies[number]) * KCAL_PER_MOL,
            forces[number].astype(np.float64) * KCAL_PER_MOL,
        )
        yield _frame_or_error(atoms, labels, f"{path}, frame {number}")


def _npz_arrays(path: Path) -> list[NDArray[np.float64]]:
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            return [np.atleast_1d(archive[key]) for key in NPZ_KEYS]
    except (KeyError, IndexError, ValueError, OSError, EOFError, BadZipFile, zlib.error) as error:
        raise DatasetError(
            f"{path}: expected an rMD17 archive with {', '.join(NPZ_KEYS)}, but {error}"
        ) from error


def _read_ase(path: Path) -> Iterator[LabelledFrame | DatasetError]:
    for number, atoms in enumerate(read_images(path)):
        yield _frame_or_error(atoms, None, f"{path}, frame {number}")


def read_images(path: Path) -> list[Atoms]:
    """Read all frames of a file that ASE reads, labelled or not.

    Args:
        path: The file.

    Returns:
        Frames in the order of the file; at least one.

    Raises:
        DatasetError: If the file is missing, unreadable or empty.
    """
    if not path.is_file():
        raise DatasetError(f"{path}: expected a data file, found none")
    try:
        images = list(ase.io.iread(path, index=":"))
    except (
        ValueError,
        KeyError,
        IndexError,
        OSError,
        RuntimeError,
        ase.io.formats.UnknownFileTypeError,
    ) as error:
        raise DatasetError(f"{path}: ASE cannot read it: {error}") from error
    if not images:
        raise DatasetError(f"{path}: expected at least one frame, found none")
    return images


def _frame_or_error(
    atoms: Atoms, labels: tuple[float, NDArray[np.float64]] | None, where: str
) -> LabelledFrame | DatasetError:
    """Take energy and forces from the atoms' calculator unless they are given."""
    try:
        energy, forces = _labels(atoms, where) if labels is None else labels
        return _checked_frame(atoms, energy, forces, where)
    except DatasetError as error:
        return error


def _labels(atoms: Atoms, where: str) -> tuple[float, NDArray[np.float64]]:
    results = {} if atoms.calc is None else atoms.calc.results
    missing = [name for name in ("energy", "forces") if name not in results]
    if missing:
        raise DatasetError(
            f"{where}: expected energy (eV) and forces (eV/Angstrom) under ASE's calculator "
            f"keys, but {' and '.join(missing)} is missing"
        )
    return float(results["energy"]), np.asarray(results["forces"], dtype=np.float64)


def _checked_frame(
    atoms: Atoms, energy: float, forces: NDArray[np.float64], where: str
) -> LabelledFrame:
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        raise DatasetError(f"{where}: expected finite labels, got NaN or infinity")
    try:
        structure = structure_from_atoms(atoms)
    except InvalidStructure as error:
        raise DatasetError(f"{where}: {error.detail}") from error
    if structure.charge != 0 or structure.spin_multiplicity != 1:
        raise DatasetError(
            f"{where}: expected a neutral singlet, got charge {structure.charge} and spin "
            f"multiplicity {structure.spin_multiplicity}; the network does not describe others"
        )
    level = atoms.info.get("level_of_theory")
    return LabelledFrame(
        structure=structure,
        energy=energy,
        forces=forces,
        level_of_theory=None if level is None else str(level),
    )
