"""The structures of the self-test: small, lopsided, with their elements out of order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from ase import Atoms, units
from ase.build import bulk, molecule
from numpy.typing import NDArray

from posterion_client._errors import InvalidArgument
from posterion_client.selftest._code import Job, Service

FloatArray = NDArray[np.float64]

TEMPERATURE_K: Final = 300.0
TIMESTEP_FS: Final = 0.5
N_STEPS: Final = 200
_SEED: Final = 20
_MOLECULE_CELL: Final = ((6.8, 0.0, 0.0), (1.1, 5.8, 0.0), (0.7, -0.6, 5.2))
"""Angstrom: close enough that images see each other, lower triangular, not reducible."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subjects:
    """What the runs are about.

    Attributes:
        free: In free space; None for a material.
        periodic: In a triclinic cell.
    """

    free: Atoms | None
    periodic: Atoms


def default_subjects(elements: Sequence[int]) -> Subjects:
    """Ethanol, or silicon, for a model that knows it.

    Args:
        elements: Atomic numbers that the model knows.

    Raises:
        InvalidArgument: If it knows neither.
    """
    known = set(elements)
    if known >= {1, 6, 8}:
        ethanol = molecule("CH3CH2OH")
        # One element after the other would hide a code that sorts its atoms.
        return subjects_of(ethanol[[3, 0, 8, 2, 4, 1, 5, 7, 6]])
    if 14 in known:
        silicon = bulk("Si", cubic=True)
        shear = np.array([[1.02, 0.0, 0.0], [0.05, 0.99, 0.0], [-0.03, 0.04, 1.01]])
        silicon.set_cell(silicon.cell @ shear, scale_atoms=True)
        return subjects_of(silicon)
    raise InvalidArgument(
        f"the self-test has no structure of the elements {sorted(known)}; give one with --structure"
    )


def subjects_of(atoms: Atoms) -> Subjects:
    """A structure of the user's, shaken a little so that no force vanishes.

    Raises:
        InvalidArgument: If it is periodic in some directions only.
    """
    shaken: Atoms = atoms.copy()
    shaken.calc = None
    shaken.rattle(0.02, seed=_SEED)
    if shaken.pbc.all():
        return Subjects(free=None, periodic=in_standard_form(shaken))
    if shaken.pbc.any():
        raise InvalidArgument("the structure must be periodic in all directions or in none")
    boxed = shaken.copy()
    boxed.set_cell(_MOLECULE_CELL)
    boxed.center()
    boxed.pbc = True
    return Subjects(free=shaken, periodic=boxed)


def in_standard_form(atoms: Atoms) -> Atoms:
    """The same periodic structure, turned so that its cell is lower triangular."""
    turned: Atoms = atoms.copy()
    _, upper = np.linalg.qr(turned.cell.array.T)
    signs = np.sign(np.diag(upper))
    lower = (signs[:, None] * upper).T
    turned.set_cell(np.tril(lower), scale_atoms=True)
    return turned


def job_of(atoms: Atoms, service: Service, *, n_steps: int) -> Job:
    """A run that starts from a structure at 300 K.

    Args:
        atoms: The structure.
        service: Whom to ask.
        n_steps: Steps of 0.5 fs.
    """
    masses = atoms.get_masses()
    generator = np.random.default_rng(_SEED)
    momenta = generator.standard_normal((len(atoms), 3)) * np.sqrt(
        masses * units.kB * TEMPERATURE_K
    ).reshape(-1, 1)
    momenta -= momenta.mean(axis=0)
    return Job(
        numbers=atoms.numbers.astype(np.int64),
        positions=atoms.positions.copy(),
        velocities=momenta / masses[:, None] * units.fs,
        masses=masses,
        cell=atoms.cell.array.copy() if atoms.pbc.all() else None,
        timestep_fs=TIMESTEP_FS,
        n_steps=n_steps,
        service=service,
    )
