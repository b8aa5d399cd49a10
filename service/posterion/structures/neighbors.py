"""Which pairs of atoms lie within a cutoff, periodic images included.

The cost of a list decides small molecules: numpy over all pairs is fastest below about
sixty atoms without periodicity, vesin's cell list nearly everywhere else. Boxes so long and
thin, or so empty, that a grid of cells does not fit them are searched with a k-d tree.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from vesin import NeighborList

SMALL: Final = 64
"""Up to this many atoms, all pairs in numpy beat a cell list."""


GRID_CELLS: Final = 1e5
"""Most cells that vesin puts in a grid."""


class NeighborPairs(NamedTuple):
    """Ordered pairs (both directions) within a cutoff.

    Attributes:
        centre: Shape ``(n_pairs,)``, sorted ascending.
        neighbor: Shape ``(n_pairs,)``, sorted within a centre.
        images: Shape ``(n_pairs, 3)``, whole numbers: the image of the cell that the neighbour
            is in, relative to its own position; sorted within a centre and a neighbour.
        shifts: Shape ``(n_pairs, 3)``, Angstrom: lattice translation of the neighbour.
    """

    centre: NDArray[np.int64]
    neighbor: NDArray[np.int64]
    images: NDArray[np.float64]
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
    if all(pbc):
        return full
    open_axes = [axis for axis in range(3) if not pbc[axis]]
    kept = [axis for axis in range(3) if pbc[axis]]
    _, _, basis = np.linalg.svd(full[kept])
    for axis, normal in zip(open_axes, basis[len(kept) :], strict=True):
        full[axis] = normal
    return full


def translations(images: NDArray[np.float64], cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lattice translations of images, each rounded the same way wherever it stands.

    A matrix product may round a row differently depending on the rows around it.

    Args:
        images: Shape ``(n, 3)``, whole numbers.
        cell: Shape ``(3, 3)``, rows are lattice vectors, Angstrom.

    Returns:
        Shape ``(n, 3)``, Angstrom.
    """
    moved: NDArray[np.float64] = images[:, :1] * cell[0]
    moved += images[:, 1:2] * cell[1]
    moved += images[:, 2:] * cell[2]
    return moved


def estimate_pairs(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64] | None,
    pbc: tuple[bool, bool, bool],
    *,
    cutoff: float,
) -> float:
    """Estimate the number of ordered pairs without listing them.

    Counts pairs inside one image exactly, and all images at the mean density of the cell;
    the larger of the two. Costs little where the list would not fit into memory.

    Args:
        positions: Shape ``(n_atoms, 3)``, Angstrom.
        cell: Shape ``(3, 3)``, rows are lattice vectors; unused without periodicity.
        pbc: Which directions are periodic.
        cutoff: Angstrom.

    Returns:
        Ordered pairs: exact without periodicity, else an estimate.
    """
    n_atoms = len(positions)
    if cell is None or not any(pbc):
        tree = KDTree(positions)
        return float(tree.count_neighbors(tree, cutoff) - n_atoms)
    full = complete_cell(cell, pbc)
    fractional = positions @ np.linalg.inv(full)
    fractional -= np.floor(fractional) * np.array(pbc)
    tree = KDTree(fractional @ full)
    inside = float(tree.count_neighbors(tree, cutoff) - n_atoms)
    extent = np.where(pbc, 1.0, np.ptp(fractional, axis=0) + cutoff)
    volume = abs(float(np.linalg.det(full))) * float(np.prod(extent))
    return max(inside, n_atoms * n_atoms / volume * 4.0 / 3.0 * np.pi * cutoff**3)


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
        Pairs in both directions, an atom's own periodic images included. Their order depends
        on the pairs alone, not on how they were found.
    """
    if cell is None or not any(pbc):
        if len(positions) <= SMALL:
            return _all_pairs(positions, cutoff)
        box, pbc = np.eye(3), (False, False, False)
        heights = np.ptp(positions, axis=0)
    else:
        box = _enclosing_box(positions, complete_cell(cell, pbc), pbc, cutoff)
        heights = 1.0 / np.linalg.norm(np.linalg.inv(box), axis=0)
    if not _fits_a_grid(heights, cutoff):
        return _tree_pairs(positions, box, pbc, cutoff)
    return _grid_pairs(positions, box, periodic=any(pbc), cutoff=cutoff)


def _enclosing_box(
    positions: NDArray[np.float64],
    full: NDArray[np.float64],
    pbc: tuple[bool, bool, bool],
    cutoff: float,
) -> NDArray[np.float64]:
    """Stretch the unit normals of open directions until no image comes within the cutoff.

    The box can then be searched as fully periodic: vesin's own search of partly periodic
    boxes does not end where an atom lies far outside the box.
    """
    box = full.copy()
    for axis in range(3):
        if not pbc[axis]:
            box[axis] *= np.ptp(positions @ full[axis]) + 2.0 * cutoff
    return box


def _fits_a_grid(heights: NDArray[np.float64], cutoff: float) -> bool:
    """Whether vesin's grid keeps a cell in every direction.

    vesin shrinks a grid of too many cells by one factor in all directions; where less than
    one cell is left of the shortest, it divides by zero.
    """
    n_cells = np.maximum(heights / cutoff, 1.0)
    shrunk = min(1.0, float(np.cbrt(GRID_CELLS / n_cells.prod())))
    return shrunk == 1.0 or shrunk * float(n_cells.min()) >= 2.0


def _all_pairs(positions: NDArray[np.float64], cutoff: float) -> NeighborPairs:
    difference = positions[None, :, :] - positions[:, None, :]
    squared = np.einsum("ijk,ijk->ij", difference, difference)
    np.fill_diagonal(squared, np.inf)
    centre, neighbor = np.nonzero(squared < cutoff * cutoff)
    none = np.zeros((len(centre), 3))
    return NeighborPairs(centre, neighbor, none, none)


def _in_order(
    centre: NDArray[np.int64],
    neighbor: NDArray[np.int64],
    images: NDArray[np.float64],
    box: NDArray[np.float64],
) -> NeighborPairs:
    """Sort pairs by centre, neighbour and image."""
    n_atoms = int(neighbor.max(initial=0)) + 1
    lowest = images.min(axis=0, initial=0.0)
    spans = images.max(axis=0, initial=0.0) - lowest + 1.0
    if n_atoms * n_atoms * float(spans.prod()) < 2.0**62:
        key = centre * n_atoms + neighbor
        for axis in range(3):
            key = key * int(spans[axis]) + (images[:, axis] - lowest[axis]).astype(np.int64)
        order = np.argsort(key)
    else:
        order = np.lexsort((images[:, 2], images[:, 1], images[:, 0], neighbor, centre))
    images = images[order]
    return NeighborPairs(centre[order], neighbor[order], images, translations(images, box))


def _grid_pairs(
    positions: NDArray[np.float64],
    box: NDArray[np.float64],
    *,
    periodic: bool,
    cutoff: float,
) -> NeighborPairs:
    finder = NeighborList(cutoff=cutoff, full_list=True, sorted=False, n_threads=1)
    centre, neighbor, images = finder.compute(
        points=positions, box=box, periodic=periodic, quantities="ijS", copy=True
    )
    return _in_order(
        centre.astype(np.int64), neighbor.astype(np.int64), images.astype(np.float64), box
    )


def _tree_pairs(
    positions: NDArray[np.float64],
    box: NDArray[np.float64],
    pbc: tuple[bool, bool, bool],
    cutoff: float,
) -> NeighborPairs:
    """Search the wrapped atoms and those of their images that can reach them."""
    inverse = np.asarray(np.linalg.inv(box), dtype=np.float64)
    home = np.where(pbc, np.floor(positions @ inverse), 0.0)
    inside = np.asarray(positions @ inverse - home, dtype=np.float64)
    owner, image = _reaching_images(inside, inverse, pbc, cutoff)
    wrapped = positions - home @ box
    found = KDTree(wrapped[owner] + image @ box).query_ball_point(
        wrapped, cutoff, return_sorted=True
    )
    centre = np.repeat(np.arange(len(positions)), [len(points) for points in found])
    point = np.concatenate([np.asarray(points, dtype=np.int64) for points in found])
    neighbor, images = owner[point], image[point]
    other = (neighbor != centre) | images.any(axis=1)
    images += home[centre] - home[neighbor]
    return _in_order(centre[other], neighbor[other], images[other], box)


def _reaching_images(
    fractional: NDArray[np.float64],
    inverse: NDArray[np.float64],
    pbc: tuple[bool, bool, bool],
    cutoff: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Atoms of the box and of its neighbours within the cutoff of the box.

    Returns:
        Which atom each is, shape ``(n,)``, and in which image of the box, ``(n, 3)``.
    """
    reach = np.where(pbc, cutoff * np.linalg.norm(inverse, axis=0), 0.0)
    ranges = [np.arange(-n, n + 1.0) for n in np.ceil(reach)]
    images = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    outside = [
        (fractional + image < -reach) | (fractional + image > 1.0 + reach) for image in images
    ]
    near = [np.flatnonzero(~(beyond & np.array(pbc)).any(axis=1)) for beyond in outside]
    return np.concatenate(near), np.repeat(images, [len(atoms) for atoms in near], axis=0)
