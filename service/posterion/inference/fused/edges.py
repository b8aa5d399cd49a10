"""What all samples share of a batch: atoms in order, edges, harmonics, places in the table."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posterion.graph.batch import GraphBatch
from posterion.inference.coupling import TABLE_ROWS, AngularColumns
from posterion.inference.fused.geometry import edges_source
from posterion.inference.fused.kernel import compiled
from posterion.network.frozen import N_INTERVALS
from posterion.network.harmonics import Polynomial

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Edges:
    """Atoms ordered by element, edges ordered by their centre.

    Attributes:
        order: Atom of the batch at each place.
        place: Place of each atom of the batch.
        species: Element of each atom, counted from 0.
        spans: Element, first and last place, exclusive, of every element that occurs.
        structure: Structure of each atom.
        vectors: Centre to neighbour, Angstrom, ``(n_edges, 3)``.
        first: First edge of each atom, then the number of edges.
        neighbor: Place of the neighbour of each edge.
        jacobian: Derivatives of the harmonics, ``(n_edges, n_harmonics, 3)``.
        unit: Unit vectors, ``(n_edges, 3)``.
        angular: See `AngularColumns`, ``(n_edges, n_columns)``.
        knot: Interval of the radial table.
        weight: Of the table's entries for a value, ``(n_edges, TABLE_ROWS)``.
        slope: Of the table's entries for the derivative by the distance, likewise.
    """

    order: Tensor
    place: Tensor
    species: Tensor
    spans: tuple[tuple[int, int, int], ...]
    structure: IntArray
    vectors: FloatArray
    first: IntArray
    neighbor: IntArray
    jacobian: FloatArray
    unit: FloatArray
    angular: FloatArray
    knot: IntArray
    weight: FloatArray
    slope: FloatArray

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.order)

    @property
    def n_edges(self) -> int:
        """Number of edges."""
        return len(self.neighbor)


class EdgeDescriber:
    """Describes the edges of a batch for the kernels of one network."""

    def __init__(
        self,
        elements: tuple[int, ...],
        cutoff: float,
        harmonics: tuple[Polynomial, ...],
        angular: AngularColumns,
    ) -> None:
        """Write the kernel.

        Args:
            elements: Atomic numbers that the network knows.
            cutoff: Angstrom.
            harmonics: Of its edges.
            angular: Combinations of them, complete.
        """
        self._n_elements = len(elements)
        self._density = N_INTERVALS / cutoff
        self._n_harmonics = len(harmonics)
        self._n_columns = len(angular.combinations)
        self._describe = compiled(edges_source(harmonics, angular))
        self._species = torch.full((119,), -1, dtype=torch.int64)
        self._species[list(elements)] = torch.arange(len(elements))

    def __call__(self, batch: GraphBatch) -> Edges:
        """Order atoms and edges, and evaluate what depends on geometry alone."""
        species = self._species[batch.atomic_numbers]
        order = torch.argsort(species, stable=True)
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))
        centre, neighbor = place[batch.edge_index]
        by_centre = torch.argsort(centre, stable=True)
        vectors = batch.vectors[by_centre].contiguous().numpy()
        n_edges, n_atoms = len(vectors), len(order)
        first = np.zeros(n_atoms + 1, dtype=np.int64)
        np.cumsum(np.bincount(centre.numpy(), minlength=n_atoms), out=first[1:])
        jacobian = _empty(n_edges, self._n_harmonics, 3)
        unit, angular = _empty(n_edges, 3), _empty(n_edges, self._n_columns)
        weight, slope = _empty(n_edges, TABLE_ROWS), _empty(n_edges, TABLE_ROWS)
        knot = np.empty(n_edges, dtype=np.int64)
        self._describe(vectors, self._density, jacobian, unit, angular, knot, weight, slope)
        ordered = species[order]
        return Edges(
            order=order,
            place=place,
            species=ordered,
            spans=self._spans(ordered),
            structure=batch.structure_index[order].numpy(),
            vectors=vectors,
            first=first,
            neighbor=neighbor[by_centre].numpy(),
            jacobian=jacobian,
            unit=unit,
            angular=angular,
            knot=knot,
            weight=weight,
            slope=slope,
        )

    def _spans(self, ordered: Tensor) -> tuple[tuple[int, int, int], ...]:
        counts = torch.bincount(ordered, minlength=self._n_elements).tolist()
        ends = np.cumsum(counts).tolist()
        return tuple(
            (element, end - count, end)
            for element, (count, end) in enumerate(zip(counts, ends, strict=True))
            if count
        )


def _empty(*shape: int) -> FloatArray:
    return np.empty(shape, dtype=np.float32)
