"""What all samples share of a batch: atoms in order, edges, harmonics, places in the table."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posterion.graph.batch import GraphBatch
from posterion.inference.coupling import TABLE_ROWS, AngularColumns
from posterion.inference.fused.geometry import arrange_source, edges_source
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
        species: Element of each atom, counted from 0.
        spans: First and last place, exclusive, of every element, ``(n_elements, 2)``.
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

    order: IntArray
    species: IntArray
    spans: IntArray
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
        self._arrange = compiled(arrange_source())
        self._describe = compiled(edges_source(harmonics, angular))
        self._species = np.full(119, -1, dtype=np.int64)
        self._species[list(elements)] = np.arange(len(elements))

    def __call__(self, batch: GraphBatch) -> Edges:
        """Order atoms and edges, and evaluate what depends on geometry alone.

        Raises:
            ValueError: If the network does not know an element.
        """
        known = self._species[batch.atomic_numbers.numpy()]
        if known.min() < 0:
            raise ValueError("the batch has an element that the network does not know")
        n_atoms, n_edges = len(batch.atomic_numbers), batch.edge_index.shape[1]
        order, species, structure, neighbor, knot = (
            np.empty(n, dtype=np.int64) for n in (n_atoms, n_atoms, n_atoms, n_edges, n_edges)
        )
        spans = np.zeros((self._n_elements, 2), dtype=np.int64)
        first = np.zeros(n_atoms + 1, dtype=np.int64)
        vectors = _empty(n_edges, 3)
        self._arrange(
            known,
            batch.structure_index.numpy(),
            batch.edge_index.numpy(),
            batch.vectors.numpy(),
            order,
            species,
            spans,
            structure,
            first,
            neighbor,
            vectors,
        )
        jacobian = _empty(n_edges, self._n_harmonics, 3)
        unit, angular = _empty(n_edges, 3), _empty(n_edges, self._n_columns)
        weight, slope = _empty(n_edges, TABLE_ROWS), _empty(n_edges, TABLE_ROWS)
        self._describe(vectors, self._density, jacobian, unit, angular, knot, weight, slope)
        return Edges(
            order=order,
            species=species,
            spans=spans,
            structure=structure,
            vectors=vectors,
            first=first,
            neighbor=neighbor,
            jacobian=jacobian,
            unit=unit,
            angular=angular,
            knot=knot,
            weight=weight,
            slope=slope,
        )


def _empty(*shape: int) -> FloatArray:
    return np.empty(shape, dtype=np.float32)
