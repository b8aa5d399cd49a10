"""Whether any two atoms are so close that they must be a mistake.

Every structure of every request is asked this, and the answer is nearly always no. So this says
no without listing pairs: two atoms nearer than d along three directions share a cell of a grid
twice as wide as d, or of one of the seven grids shifted by half a cell.
"""

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from posterion.structures.neighbors import complete_cell

_SHIFTS: Final = np.array((0.0, 0.5))
_STRIDES: Final = np.array([1.0, 1_000_003.0, 998_244_353_003.0])
_ALL_PAIRS: Final = 256
"""Up to this many atoms of a molecule, one matrix product of all pairs beats the grids."""
_ROUNDING: Final = 1e-14
"""Of the largest square, more than the squares of distances from a product are off by."""
_CELLS: Final = 256
"""Grids that are remembered."""
_CROWD: Final = 8
"""More atoms than this in one cell are left to the search that lists pairs."""


def contacts_possible(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64] | None,
    pbc: tuple[bool, bool, bool],
    *,
    distance: float,
) -> bool:
    """Whether two atoms may be closer than a distance.

    Args:
        positions: Shape ``(n_atoms, 3)``, Angstrom; need not be wrapped.
        cell: Shape ``(3, 3)``, rows are lattice vectors; unused without periodicity.
        pbc: Which directions are periodic.
        distance: Angstrom.

    Returns:
        False only if no two atoms, images included, are closer; images of one and the same
        atom are not looked at.
    """
    periodic = cell is not None and any(pbc)
    if not periodic and len(positions) <= _ALL_PAIRS:
        return not _smallest_squared(positions) >= distance * distance
    grid = _grid(cell.tobytes() if cell is not None and periodic else None, pbc, distance)
    along = positions @ grid.normals
    pairs = _sharing(along / grid.width, grid.n_cells)
    if pairs is None or not len(pairs[0]):
        return pairs is None
    apart = along[pairs[0]] - along[pairs[1]]
    apart -= np.where(pbc, grid.periods, 0.0) * np.round(apart / grid.periods)
    return bool((np.abs(apart) < distance).all(axis=1).any())


class _Grid(NamedTuple):
    """What of a grid depends on the cell alone.

    Attributes:
        normals: Unit normals of the cell's faces, as columns: along these no two atoms are
            farther apart than in space.
        periods: Lengths along the normals after which the structure repeats, Angstrom.
        width: Widths of the grid's cells, Angstrom.
        n_cells: Their number in a period; infinite, like that, where nothing repeats.
    """

    normals: NDArray[np.float64]
    periods: NDArray[np.float64]
    width: NDArray[np.float64]
    n_cells: NDArray[np.float64]


@lru_cache(maxsize=_CELLS)
def _grid(cell: bytes | None, pbc: tuple[bool, bool, bool], distance: float) -> _Grid:
    """The grid for one cell; the steps of a trajectory ask about the same one."""
    normals, heights = np.eye(3), np.ones(3)
    if cell is not None:
        rows = np.frombuffer(cell, dtype=np.float64).reshape(3, 3)
        inverse = np.linalg.inv(complete_cell(rows, pbc))
        heights = 1.0 / np.sqrt(np.einsum("ij,ij->j", inverse, inverse))
        normals = np.asarray(inverse * heights, dtype=np.float64)
    n_cells = np.where(pbc, np.maximum(np.floor(heights / (2.0 * distance)), 1.0), np.inf)
    return _Grid(
        normals=normals,
        periods=np.where(pbc, heights, np.inf),
        width=np.where(pbc, heights / np.where(pbc, n_cells, 1.0), 2.0 * distance),
        n_cells=n_cells,
    )


def _smallest_squared(positions: NDArray[np.float64]) -> float:
    """A little less than the smallest squared distance, or NaN of numbers beyond squares."""
    with np.errstate(over="ignore", invalid="ignore"):
        centred = positions - np.add.reduce(positions) / len(positions)
        squares = np.einsum("ij,ij->i", centred, centred)
        apart = squares[:, None] + squares - 2.0 * (centred @ centred.T)
        apart.flat[:: len(positions) + 1] = np.inf
        return float(apart.min() - _ROUNDING * squares.max())


def _sharing(
    scaled: NDArray[np.float64], n_cells: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Pairs of atoms that share a cell of one of the grids.

    Args:
        scaled: Coordinates in cells, shape ``(n_atoms, 3)``.
        n_cells: Cells after which a direction repeats; infinite if it does not.

    Returns:
        Both atoms of every such pair, in any order, some pairs more than once; None if so many
        share a cell that some must be close.
    """
    # One direction after the other, shape (2, 3, n_atoms), of which the eight grids are made.
    cells = np.ascontiguousarray(scaled.T) + _SHIFTS[:, None, None]
    np.floor(cells, out=cells)
    repeating = np.isfinite(n_cells)
    if repeating.all():
        n = n_cells[:, None]
        turns = cells / n
        np.floor(turns, out=turns)
        turns *= n
        cells -= turns
    else:
        n = n_cells[repeating, None]
        cells[:, repeating] -= np.floor(cells[:, repeating] / n) * n
    # Far-off cells may get one number; a pair too many does no harm.
    cells *= _STRIDES[:, None]
    numbers = cells[:, None, None, 0] + cells[:, None, 1] + cells[:, 2]
    numbers = numbers.reshape(8, -1)
    ordered = np.sort(numbers, axis=1)
    # The end of one grid and the beginning of the next are compared as well, to no harm either.
    flat = ordered.reshape(-1)
    if not np.count_nonzero(flat[1:] == flat[:-1]):
        none = np.empty(0, dtype=np.int64)
        return none, none
    order = np.argsort(numbers, axis=1)
    ordered = np.take_along_axis(numbers, order, axis=1)
    first, second = [order[0, :0]], [order[0, :0]]
    for step in range(1, _CROWD + 1):
        same = ordered[:, step:] == ordered[:, :-step]
        if not same.any():
            return np.concatenate(first), np.concatenate(second)
        first.append(order[:, :-step][same])
        second.append(order[:, step:][same])
    return None
