"""One configuration of atoms, checked once and immutable afterwards."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from posterion.errors import Fault, InvalidStructure
from posterion.structures.contacts import contacts_possible
from posterion.structures.neighbors import complete_cell, neighbor_pairs

MINIMUM_DISTANCE: Final = 0.3
"""Atoms closer than this (Angstrom) are taken for coincident, i.e. for a mistake."""

CONTACT_SEARCH: Final = 1.0
"""Radius (Angstrom) of the search for coincident atoms: a grid of finer cells costs more."""

MINIMUM_CELL_HEIGHT: Final = 0.5
"""Smallest distance (Angstrom) between opposite faces of a periodic cell."""

MAXIMUM_COORDINATE: Final = 1e7
"""Coordinates beyond this (Angstrom) lose the digits that forces depend on."""

MAXIMUM_ATOMIC_NUMBER: Final = len(chemical_symbols) - 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Structure:
    """One configuration of atoms.

    Attributes:
        atomic_numbers: Shape ``(n_atoms,)``, 1 to 118.
        positions: Shape ``(n_atoms, 3)``, Angstrom.
        cell: Shape ``(3, 3)``, rows are the lattice vectors, Angstrom; None only without
            any periodic direction. A zero row stands for "no vector" in a direction that
            is not periodic.
        pbc: Which directions are periodic.
        charge: Total charge, elementary charges.
        spin_multiplicity: 2S + 1.

    Raises:
        InvalidStructure: If a shape, number, cell or distance is wrong; its faults point
            into the structure, e.g. ``/positions/3``.
    """

    atomic_numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    cell: NDArray[np.float64] | None = None
    pbc: tuple[bool, bool, bool] = (False, False, False)
    charge: int = 0
    spin_multiplicity: int = 1

    def __post_init__(self) -> None:
        """Check every field and keep read-only copies of the arrays."""
        numbers = _checked_numbers(self.atomic_numbers)
        positions = _checked_positions(self.positions, n_atoms=len(numbers))
        pbc = (bool(self.pbc[0]), bool(self.pbc[1]), bool(self.pbc[2]))
        cell = _checked_cell(self.cell, pbc)
        for name, value in (
            ("atomic_numbers", numbers),
            ("positions", positions),
            ("cell", cell),
            ("pbc", pbc),
        ):
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, name, value)
        _check_distances(positions, cell, pbc)

    def moved(
        self, positions: NDArray[np.float64], cell: NDArray[np.float64] | None = None
    ) -> "Structure":
        """The same atoms elsewhere, without a search for coincident ones.

        Args:
            positions: Shape ``(n_atoms, 3)``, Angstrom.
            cell: Shape ``(3, 3)``, Angstrom; None keeps this one.

        Returns:
            The structure; its distances are checked by whoever lists its pairs, with
            `check_distances`.

        Raises:
            InvalidStructure: If positions or cell are wrong.
        """
        positions = _checked_positions(positions, n_atoms=self.n_atoms)
        if cell is None or (self.cell is not None and np.array_equal(cell, self.cell)):
            cell = self.cell
        else:
            cell = _checked_cell(cell, self.pbc)
        other = object.__new__(Structure)
        for name in ("atomic_numbers", "pbc", "charge", "spin_multiplicity"):
            object.__setattr__(other, name, getattr(self, name))
        for name, value in (("positions", positions), ("cell", cell)):
            if value is not None:
                value.setflags(write=False)
            object.__setattr__(other, name, value)
        return other

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.atomic_numbers)

    @property
    def fully_periodic(self) -> bool:
        """Whether all three directions are periodic."""
        return all(self.pbc)

    @property
    def volume(self) -> float | None:
        """Volume of the cell in Angstrom^3; None unless fully periodic."""
        if self.cell is None or not self.fully_periodic:
            return None
        return float(abs(np.linalg.det(self.cell)))


def _fail(pointer: str, detail: str) -> InvalidStructure:
    return InvalidStructure(f"{pointer}: {detail}", faults=(Fault(pointer=pointer, detail=detail),))


def _checked_numbers(values: object) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0:
        raise _fail(
            "/numbers", f"expected at least one atomic number in a list, got shape {array.shape}"
        )
    if array.dtype.kind not in "iu":
        raise _fail("/numbers", f"expected integers, got {array.dtype}")
    if array.min() < 1 or array.max() > MAXIMUM_ATOMIC_NUMBER:
        first = int(np.flatnonzero((array < 1) | (array > MAXIMUM_ATOMIC_NUMBER))[0])
        raise _fail(
            f"/numbers/{first}",
            f"expected an atomic number from 1 to {MAXIMUM_ATOMIC_NUMBER}, got {array[first]}",
        )
    return array.astype(np.int64)


def _real(values: object, pointer: str) -> NDArray[np.float64]:
    """Copy to a contiguous float64 array."""
    try:
        return np.array(values, dtype=np.float64, order="C")
    except (TypeError, ValueError) as error:
        raise _fail(pointer, f"expected rows of three numbers, but {error}") from error


def _checked_positions(values: object, *, n_atoms: int) -> NDArray[np.float64]:
    array = _real(values, "/positions")
    if array.shape != (n_atoms, 3):
        raise _fail(
            "/positions",
            f"expected shape ({n_atoms}, 3), one row per atomic number, got {array.shape}",
        )
    if not np.abs(array).max() <= MAXIMUM_COORDINATE:
        bad = np.flatnonzero(~(np.abs(array) <= MAXIMUM_COORDINATE).all(axis=1))
        first = int(bad[0])
        raise _fail(
            f"/positions/{first}",
            f"expected finite coordinates below {MAXIMUM_COORDINATE:g} Angstrom, "
            f"got others for {bad.size} of {n_atoms} atoms",
        )
    return array


def _checked_cell(values: object, pbc: tuple[bool, bool, bool]) -> NDArray[np.float64] | None:
    if values is None:
        if any(pbc):
            raise _fail("/cell", f"expected a cell because pbc is {list(pbc)}, got none")
        return None
    array = _real(values, "/cell")
    if array.shape != (3, 3):
        raise _fail("/cell", f"expected shape (3, 3), rows = lattice vectors, got {array.shape}")
    if not (np.abs(array) <= MAXIMUM_COORDINATE).all():
        raise _fail("/cell", f"expected finite numbers below {MAXIMUM_COORDINATE:g} Angstrom")
    if any(pbc):
        _check_heights(array.tobytes(), pbc)
    return array


@lru_cache(maxsize=256)
def _check_heights(cell: bytes, pbc: tuple[bool, bool, bool]) -> None:
    """Refuse a flat cell; the steps of a trajectory share theirs, so the good are remembered."""
    array = np.frombuffer(cell, dtype=np.float64).reshape(3, 3)
    for axis in range(3):
        if pbc[axis] and not array[axis].any():
            raise _fail(f"/cell/{axis}", "expected a lattice vector in a periodic direction, got 0")
    full = complete_cell(array, pbc)
    volume = abs(float(np.linalg.det(full)))
    following, last = full[[1, 2, 0]], full[[2, 0, 1]]
    normals = (
        following[:, [1, 2, 0]] * last[:, [2, 0, 1]] - following[:, [2, 0, 1]] * last[:, [1, 2, 0]]
    )
    areas = np.sqrt(np.einsum("ij,ij->i", normals, normals))
    heights = volume / np.maximum(areas, 1e-300)
    flat = [axis for axis in range(3) if pbc[axis] and heights[axis] < MINIMUM_CELL_HEIGHT]
    if flat:
        raise _fail(
            "/cell",
            f"expected independent lattice vectors with at least {MINIMUM_CELL_HEIGHT} Angstrom "
            f"between opposite faces, got a volume of {volume:.3g} Angstrom^3 and heights "
            f"{np.round(heights, 3).tolist()}",
        )


def _check_distances(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64] | None,
    pbc: tuple[bool, bool, bool],
) -> None:
    if not contacts_possible(positions, cell, pbc, distance=MINIMUM_DISTANCE):
        return
    pairs = neighbor_pairs(positions, cell, pbc, cutoff=CONTACT_SEARCH)
    distance = np.linalg.norm(pairs.vectors(positions), axis=1)
    check_distances(pairs.centre, pairs.neighbor, distance)


def check_distances(
    centre: NDArray[np.int64], neighbor: NDArray[np.int64], distance: NDArray[np.float64]
) -> None:
    """Refuse coincident atoms.

    Args:
        centre: Shape ``(n_pairs,)``.
        neighbor: Shape ``(n_pairs,)``.
        distance: Shape ``(n_pairs,)``, Angstrom; all pairs closer than `MINIMUM_DISTANCE`
            must be among them.

    Raises:
        InvalidStructure: If two atoms, or an atom and its own image, are closer than that.
    """
    if distance.min(initial=np.inf) >= MINIMUM_DISTANCE:
        return
    closest = int(distance.argmin())
    i, j = int(centre[closest]), int(neighbor[closest])
    raise _fail(
        f"/positions/{max(i, j)}",
        f"expected atoms at least {MINIMUM_DISTANCE} Angstrom apart, but atoms {min(i, j)} and "
        f"{max(i, j)} are {distance[closest]:.3g} Angstrom apart",
    )
