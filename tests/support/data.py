"""Labelled frames: of the project's own making, and real ones where they are at hand."""

from pathlib import Path
from typing import Final

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray

from posterion.structures.ase_io import LabelledFrame
from posterion.structures.structure import Structure

FloatArray = NDArray[np.float64]

REAL_DATA: Final = Path(__file__).parents[2].parent / "shared" / "data"

NUMBERS: Final = np.array([8, 1, 1])
BOND: Final = 0.96
"""Angstrom."""
DEPTH: Final = 4.8
"""eV."""
STEEPNESS: Final = 2.2
"""1/Angstrom."""
SPREAD: Final = 1.5
"""Distance of the hydrogens at rest, Angstrom."""
STIFFNESS: Final = 4.0
"""eV/Angstrom^2, of the spring between the hydrogens."""
ATOMIC: Final = -700.0
"""Energy of each atom, eV, so that energies have to be centred."""
AT_REST: Final = np.array([[0.0, 0.0, 0.0], [0.75, 0.6, 0.0], [-0.75, 0.6, 0.0]])


def morse_water(positions: FloatArray) -> tuple[float, FloatArray]:
    """Energy (eV) and forces (eV/Angstrom) of a molecule of two Morse bonds and a spring.

    Args:
        positions: Oxygen and two hydrogens, shape ``(3, 3)``, Angstrom.
    """
    energy, forces = 3 * ATOMIC, np.zeros((3, 3))
    for first, second in ((0, 1), (0, 2), (1, 2)):
        bond = positions[second] - positions[first]
        length = float(np.linalg.norm(bond))
        if first == 0:
            decay = np.exp(-STEEPNESS * (length - BOND))
            energy += DEPTH * (1.0 - decay) ** 2
            slope = 2.0 * DEPTH * STEEPNESS * decay * (1.0 - decay)
        else:
            energy += 0.5 * STIFFNESS * (length - SPREAD) ** 2
            slope = STIFFNESS * (length - SPREAD)
        forces[first] += slope * bond / length
        forces[second] -= slope * bond / length
    return float(energy), forces


def morse_frames(n_frames: int, *, seed: int, displacement: float = 0.06) -> list[LabelledFrame]:
    """Labelled configurations around the rest, every coordinate displaced at random."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n_frames):
        positions = AT_REST + rng.normal(scale=displacement, size=(3, 3))
        energy, forces = morse_water(positions)
        structure = Structure(atomic_numbers=NUMBERS, positions=positions)
        frames.append(LabelledFrame(structure=structure, energy=energy, forces=forces))
    return frames


def write_extxyz(path: Path, frames: list[LabelledFrame]) -> None:
    """Write molecules with labels under ASE's calculator keys."""
    images = []
    for frame in frames:
        atoms = Atoms(numbers=frame.structure.atomic_numbers, positions=frame.structure.positions)
        atoms.calc = SinglePointCalculator(  # type: ignore[no-untyped-call]
            atoms, energy=frame.energy, forces=frame.forces
        )
        if frame.level_of_theory is not None:
            atoms.info["level_of_theory"] = frame.level_of_theory
        images.append(atoms)
    ase.io.write(path, images)


def real_file(name: str) -> Path:
    """A file of real ab initio data; the test is skipped where it is not at hand."""
    path = REAL_DATA / name
    if not path.is_file():
        pytest.skip(f"needs {name} of the data folder beside the repository")
    return path
