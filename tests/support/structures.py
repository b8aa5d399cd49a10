"""A zoo of structures of hydrogen and oxygen: molecules, crystals, and what lies between."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from posterion.structures.structure import Structure

FloatArray = NDArray[np.float64]

ELEMENTS = (1, 8)
TRICLINIC = np.array([[3.1, 0.0, 0.0], [0.9, 3.4, 0.0], [-0.4, 0.7, 3.8]])
TINY = np.array([[1.7, 0.0, 0.0], [0.3, 1.8, 0.0], [0.1, -0.2, 1.9]])
WATER = np.array([[0.0, 0.0, 0.0], [0.76, 0.59, 0.0], [-0.76, 0.59, 0.0]])

SPACING = 1.5
JITTER = 0.2


def jittered_grid(sides: tuple[int, int, int], *, seed: int) -> FloatArray:
    """Points of a cubic grid, 1.5 Angstrom apart, each moved at random by up to 0.2."""
    axes = [np.arange(side, dtype=np.float64) for side in sides]
    grid = SPACING * np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return grid + np.random.default_rng(seed).uniform(-JITTER, JITTER, grid.shape)


def alternating(n_atoms: int) -> NDArray[np.int64]:
    """Oxygen and hydrogen in turn."""
    return np.resize(np.array([8, 1]), n_atoms)


def water() -> Structure:
    """One water molecule, bent."""
    return Structure(atomic_numbers=np.array([8, 1, 1]), positions=WATER)


def oxygen(position: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Structure:
    """A single atom."""
    return Structure(atomic_numbers=np.array([8]), positions=np.array([position]))


def triclinic(pbc: tuple[bool, bool, bool] = (True, True, True)) -> Structure:
    """Four atoms in a skew cell, closer to its images than twice the cutoff."""
    fractional = np.array(
        [[0.03, 0.08, 0.11], [0.52, 0.47, 0.05], [0.45, 0.06, 0.55], [0.02, 0.55, 0.48]]
    )
    return Structure(
        atomic_numbers=alternating(4), positions=fractional @ TRICLINIC, cell=TRICLINIC, pbc=pbc
    )


def unwrapped() -> Structure:
    """The triclinic cell, every atom in another image of it."""
    home = triclinic()
    images = np.array([[3, 0, -1], [0, -5, 0], [1, 1, 1], [-2, 0, 4]])
    return replace(home, positions=home.positions + images @ TRICLINIC)


def slab() -> Structure:
    """Two periodic directions, a zero row for the third, atoms on both sides of the plane."""
    cell = TRICLINIC.copy()
    cell[2] = 0.0
    return Structure(
        atomic_numbers=alternating(4),
        positions=triclinic().positions - np.array([0.0, 0.0, 1.0]),
        cell=cell,
        pbc=(True, True, False),
    )


def wire() -> Structure:
    """One periodic direction, the second; zero rows for the others."""
    cell = np.zeros((3, 3))
    cell[1] = TRICLINIC[1]
    return Structure(
        atomic_numbers=alternating(4),
        positions=triclinic().positions,
        cell=cell,
        pbc=(False, True, False),
    )


def zoo() -> dict[str, Structure]:
    """One structure of each kind, by name."""
    return {
        "molecule": water(),
        "single-atom": oxygen(),
        "cluster-of-80": Structure(
            atomic_numbers=alternating(80), positions=jittered_grid((5, 4, 4), seed=1)
        ),
        "triclinic": triclinic(),
        "unwrapped": unwrapped(),
        "smaller-than-cutoff": Structure(
            atomic_numbers=np.array([8]),
            positions=np.array([[0.2, -0.4, 9.0]]),
            cell=TINY,
            pbc=(True, True, True),
        ),
        "slab": slab(),
        "tilted-slab": triclinic((True, False, True)),
        "wire": wire(),
        "large-cell": Structure(
            atomic_numbers=alternating(80),
            positions=jittered_grid((5, 4, 4), seed=2),
            cell=np.diag([7.5, 6.0, 6.0]) + 0.3 * np.eye(3, k=-1),
            pbc=(True, True, True),
        ),
    }


def rotation(seed: int) -> FloatArray:
    """A proper rotation matrix, drawn uniformly."""
    orthogonal, upper = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    orthogonal *= np.sign(np.diag(upper))
    orthogonal[:, 0] *= np.linalg.det(orthogonal)
    matrix: FloatArray = orthogonal
    return matrix


def transformed(structure: Structure, matrix: FloatArray) -> Structure:
    """Apply a linear map to positions and cell: rows v become v @ matrix.T."""
    return replace(
        structure,
        positions=structure.positions @ matrix.T,
        cell=None if structure.cell is None else structure.cell @ matrix.T,
    )


def displaced(structure: Structure, displacement: FloatArray) -> Structure:
    """Add a displacement, shape ``(n_atoms, 3)`` or ``(3,)``, Angstrom."""
    return replace(structure, positions=structure.positions + displacement)


def supercell(structure: Structure, repeats: tuple[int, int, int]) -> Structure:
    """Repeat a periodic structure along its lattice vectors; images of all atoms in turn."""
    assert structure.cell is not None
    images = np.array(list(np.ndindex(*repeats)), dtype=np.float64)
    positions = structure.positions[None] + (images @ structure.cell)[:, None]
    return replace(
        structure,
        atomic_numbers=np.tile(structure.atomic_numbers, len(images)),
        positions=positions.reshape(-1, 3),
        cell=structure.cell * np.array(repeats)[:, None],
    )
