"""Edges of atoms that move a little from one evaluation to the next.

Pairs are listed once up to the cutoff and a skin, and filtered to the cutoff every time. The
list holds until an atom has moved by half the skin: two atoms outside cutoff and skin then
cannot have met. The edges are those of a new list, number for number and in the same order,
so that nothing computed from them tells whether the list was used again.
"""

from functools import lru_cache
from typing import Any, Final, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from posterion.graph.batch import Graph
from posterion.structures.neighbors import (
    NeighborPairs,
    complete_cell,
    neighbor_pairs,
    translations,
)
from posterion.structures.structure import Structure, check_distances

FloatArray = NDArray[np.float64]
Number = TypeVar("Number", np.int64, np.float64)

_ROUNDING: Final = 1e-9
"""Part of the skin that is left for rounding errors."""


NO_PAIRS: Final = NeighborPairs(
    np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 3)), np.empty((0, 3))
)


class SkinList:
    """The pairs of one structure, for all the places its atoms will be in.

    Displacements are taken modulo the lattice: an atom that is folded back into the cell, or
    unfolded, has not moved.

    Attributes:
        n_builds: How often pairs were listed.
    """

    def __init__(self, cutoff: float, skin: float) -> None:
        """Start without a list.

        Args:
            cutoff: Largest edge length, Angstrom; at least the smallest allowed distance.
            skin: How far beyond it pairs are listed, Angstrom.
        """
        self.n_builds = 0
        self._cutoff = cutoff
        self._skin = skin
        self._origin: Structure | None = None
        self._pairs = NO_PAIRS
        self._full: FloatArray = np.eye(3)
        self._inverse: FloatArray = np.eye(3)
        self._folds: FloatArray = np.empty((0, 3))
        self._folded = False
        self._shifts: FloatArray = self._pairs.shifts

    @property
    def radius(self) -> float:
        """Up to where pairs are listed, Angstrom."""
        return self._cutoff + self._skin

    @property
    def n_pairs(self) -> int:
        """Ordered pairs in the list."""
        return self._pairs.n_pairs

    def reuse(self, structure: Structure) -> Graph | None:
        """The edges by the present list, if it still holds.

        Args:
            structure: Atoms of the same structure, from `Structure.moved`.

        Returns:
            The graph; None if a new list is needed.

        Raises:
            InvalidStructure: If two atoms coincide.
        """
        if self._origin is None or not self._holds(structure, self._origin):
            return None
        return self._filtered(structure)

    def build(self, structure: Structure) -> Graph:
        """List the pairs anew.

        Args:
            structure: The atoms as they are now.

        Returns:
            The graph.

        Raises:
            InvalidStructure: If two atoms coincide.
        """
        self.drop()
        self.n_builds += 1
        if structure.cell is not None and any(structure.pbc):
            self._full = complete_cell(structure.cell, structure.pbc)
            self._inverse = np.asarray(np.linalg.inv(self._full), dtype=np.float64)
        self._pairs = neighbor_pairs(
            structure.positions, structure.cell, structure.pbc, cutoff=self.radius
        )
        self._folds = np.zeros((structure.n_atoms, 3))
        self._folded = False
        self._shifts = self._pairs.shifts
        self._origin = structure
        return self._filtered(structure)

    def drop(self) -> None:
        """Forget the list, and free its memory."""
        self._origin = None
        self._pairs = NO_PAIRS
        self._shifts = NO_PAIRS.shifts

    def _holds(self, structure: Structure, origin: Structure) -> bool:
        """Whether no atom has moved too far; takes note of those that were folded."""
        if structure.cell is not origin.cell and not _same_cell(structure.cell, origin.cell):
            return False
        allowed = (0.5 * self._skin * (1.0 - _ROUNDING)) ** 2
        away: FloatArray = structure.positions - origin.positions
        if not self._folded and np.einsum("ij,ij->i", away, away).max() <= allowed:
            return True
        if structure.cell is not None and any(structure.pbc):
            folds = np.rint(away @ self._inverse) * np.array(structure.pbc)
            away = away - translations(folds, self._full)
            if not np.array_equal(folds, self._folds):
                self._fold(folds)
        return bool(np.einsum("ij,ij->i", away, away).max() <= allowed)

    def _fold(self, folds: FloatArray) -> None:
        images = self._pairs.images + folds[self._pairs.centre] - folds[self._pairs.neighbor]
        self._shifts = translations(images, self._full)
        self._folds = folds
        self._folded = bool(folds.any())

    def _filtered(self, structure: Structure) -> Graph:
        n_pairs = self.n_pairs
        edge_index = np.empty((2, n_pairs), dtype=np.int64)
        shifts, vectors = np.empty((n_pairs, 3)), np.empty((n_pairs, 3))
        distances = np.empty(n_pairs)
        n_edges = _kernel()(
            structure.positions,
            (self._pairs.centre, self._pairs.neighbor, self._shifts),
            self._cutoff,
            (edge_index, shifts, vectors, distances),
        )
        graph = Graph(
            structure=structure,
            edge_index=_detached(edge_index[:, :n_edges], edge_index),
            shifts=_detached(shifts[:n_edges], shifts),
            vectors=_detached(vectors[:n_edges], vectors),
            distances=_detached(distances[:n_edges], distances),
        )
        check_distances(graph.edge_index[0], graph.edge_index[1], graph.distances)
        return graph


def _detached(view: NDArray[Number], whole: NDArray[Number]) -> NDArray[Number]:
    """The view, or a copy where it would keep much memory for little."""
    return view.copy() if 2 * view.size < whole.size else view


def _same_cell(one: FloatArray | None, other: FloatArray | None) -> bool:
    return one is not None and other is not None and np.array_equal(one, other)


@lru_cache(maxsize=1)
def _kernel() -> Any:  # noqa: ANN401 - numba has no types
    """Compile the filter when it is first needed: half a second, once per process.

    Every operation rounds as numpy's does: nothing is contracted or reordered.
    """
    return numba.njit(nogil=True)(_filter)


def _filter(
    positions: FloatArray,
    pairs: tuple[NDArray[np.int64], NDArray[np.int64], FloatArray],
    cutoff: float,
    kept: tuple[NDArray[np.int64], FloatArray, FloatArray, FloatArray],
) -> int:
    """Write the pairs closer than the cutoff, in their order; how many they are."""
    centre, neighbor, shifts = pairs
    edge_index, kept_shifts, vectors, distances = kept
    n = 0
    for pair in range(len(centre)):
        i, j = centre[pair], neighbor[pair]
        x = positions[j, 0] + shifts[pair, 0] - positions[i, 0]
        y = positions[j, 1] + shifts[pair, 1] - positions[i, 1]
        z = positions[j, 2] + shifts[pair, 2] - positions[i, 2]
        distance = np.sqrt(x * x + y * y + z * z)
        if distance < cutoff:
            edge_index[0, n] = i
            edge_index[1, n] = j
            for axis in range(3):
                kept_shifts[n, axis] = shifts[pair, axis]
            vectors[n, 0] = x
            vectors[n, 1] = y
            vectors[n, 2] = z
            distances[n] = distance
            n += 1
    return n
