"""Which pairs of atoms lie within a cutoff, periodic images included.

The cost of a list decides small molecules: numpy over all pairs is fastest below about
sixty atoms without periodicity, vesin's cell list everywhere else.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from vesin import NeighborList

SMALL: Final = 64
"""Up to this many atoms, all pairs in numpy beat a cell list."""


class NeighborPairs(NamedTuple):
    """Ordered pairs (both directions) within a cutoff.

    Attributes:
        centre: Shape ``(n_pairs,)``, sorted ascending.
        neighbor: Shape ``(n_pairs,)``.
        shifts: Shape ``(n_pairs, 3)``, Angstrom: lattice translation of the neighbour.
    """

    centre: NDArray[np.int64]
    neighbor: NDArray[np.int64]
    shifts: NDArray[np.float64]

    @property
    def n_pairs(self) -> int:
        """Number of ordered pairs."""
        return len(self.centre)

    def vectors(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Vectors from centre to neighbour, shape ``(n_pairs, 3)``, Angstrom."""
        return positions[self.neighbor] + self.shifts - positions[self.centre]


def complete_cell(cell: NDArray[np.float64], pbc: tuple[bool, bool, bool]) -> NDArray[np.float64]:
    """Replace the rows of non-periodic directions by unit vectors normal to the rest.

    Args:
        cell: Shape ``(3, 3)``, rows are lattice vectors, Angstrom.
        pbc: Which directions are periodic; at least one.

    Returns:
        A cell of full rank whose periodic rows are unchanged.
    """
    full = cell.copy()
    open_axes = [axis for axis in range(3) if not pbc[axis]]
    kept = [axis for axis in range(3) if pbc[axis]]
    _, _, basis = np.linalg.svd(full[kept])
    for axis, normal in zip(open_axes, basis[len(kept) :], strict=True):
        full[axis] = normal
    return full


def neighbor_pairs(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64] | None,
    pbc: tuple[bool, bool, bool],
    *,
    cutoff: float,
) -> NeighborPairs:
    """Find all ordered pairs closer than the cutoff.

    Args:
        positions: Shape ``(n_atoms, 3)``, Angstrom; need not be wrapped.
        cell: Shape ``(3, 3)``, rows are lattice vectors; unused without periodicity.
        pbc: Which directions are periodic.
        cutoff: Angstrom.

    Returns:
        Pairs in both directions, an atom's own periodic images included.
    """
    if cell is None or not any(pbc):
        if len(positions) <= SMALL:
            return _all_pairs(positions, cutoff)
        return _cell_list(positions, np.zeros((3, 3)), (False, False, False), cutoff)
    return _cell_list(positions, complete_cell(cell, pbc), pbc, cutoff)


def _all_pairs(positions: NDArray[np.float64], cutoff: float) -> NeighborPairs:
    difference = positions[None, :, :] - positions[:, None, :]
    squared = np.einsum("ijk,ijk->ij", difference, difference)
    np.fill_diagonal(squared, np.inf)
    centre, neighbor = np.nonzero(squared < cutoff * cutoff)
    return NeighborPairs(centre, neighbor, np.zeros((len(centre), 3)))


def _cell_list(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    pbc: tuple[bool, bool, bool],
    cutoff: float,
) -> NeighborPairs:
    finder = NeighborList(cutoff=cutoff, full_list=True, sorted=True, n_threads=1)
    centre, neighbor, images = finder.compute(
        points=positions, box=cell, periodic=np.array(pbc), quantities="ijS", copy=True
    )
    return NeighborPairs(
        centre.astype(np.int64), neighbor.astype(np.int64), images.astype(np.float64) @ cell
    )
