"""What the training structures were like: the part of chemistry a bank has seen.

A rule about the structure itself works where all samples are wrong together.
"""

from collections.abc import Sequence
from functools import cached_property
from math import gcd
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from posterion.graph.batch import Graph, build_graph
from posterion.structures.structure import Structure

AtomicNumber = Annotated[int, Field(ge=1, le=118)]
Count = Annotated[int, Field(ge=1)]
Distance = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]

# Singular values of the composition matrix below this fraction of the largest are zero, and
# so are fractions of atoms.
_RANK_TOLERANCE = 1e-9


class PairDistance(BaseModel):
    """The shortest distance seen between atoms of two elements.

    Attributes:
        elements: Atomic numbers, ascending.
        distance: Angstrom.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    elements: tuple[AtomicNumber, AtomicNumber]
    distance: Distance


class Composition(BaseModel):
    """Numbers of atoms divided by their greatest common divisor.

    Attributes:
        counts: ``(atomic number, count)``, ascending; ethanol is ((1, 6), (6, 2), (8, 1)).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    counts: tuple[tuple[AtomicNumber, Count], ...] = Field(min_length=1)


class TrainingDomain(BaseModel):
    """Bounds of the training structures.

    Attributes:
        cutoff: Distances were looked for up to here, Angstrom.
        n_structures: Number of structures looked at.
        n_atoms_max: Atoms of the largest one.
        pair_distances: Shortest distance of every element pair seen within the cutoff.
        compositions: Reduced compositions seen.
        isolated_elements: Elements of which an atom without neighbours was seen.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cutoff: Distance
    n_structures: Count
    n_atoms_max: Count
    pair_distances: tuple[PairDistance, ...]
    compositions: tuple[Composition, ...] = Field(min_length=1)
    isolated_elements: tuple[AtomicNumber, ...] = ()

    @model_validator(mode="after")
    def _unique_pairs(self) -> Self:
        pairs = [pair.elements for pair in self.pair_distances]
        if len(set(pairs)) != len(pairs) or any(first > second for first, second in pairs):
            raise ValueError(f"pair_distances must name each ascending pair once, got {pairs}")
        return self

    def shortest_seen(
        self, first: NDArray[np.int64], second: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Shortest distance seen for each pair of atomic numbers, Angstrom.

        Args:
            first: Shape ``(n_pairs,)``.
            second: Shape ``(n_pairs,)``.

        Returns:
            Shape ``(n_pairs,)``; the cutoff where the pair was never seen within it.
        """
        seen: NDArray[np.float64] = self._shortest[first, second]
        return seen

    def composition_distance(self, structure: Structure) -> float:
        """Fraction of atoms to exchange to reach the nearest composition seen, 0 to 1."""
        here = _fractions(_composition(structure))
        return float(0.5 * np.abs(self._seen_fractions - here).sum(axis=1).min())

    def composition_determined(self, structure: Structure) -> bool:
        """Whether the composition is a linear combination of those seen.

        Where it is not, the training data leave the energy's reference undetermined.
        """
        here = np.bincount(structure.atomic_numbers, minlength=119) / structure.n_atoms
        apart = here - (here @ self._seen_basis.T) @ self._seen_basis
        return float(np.abs(apart).max()) <= _RANK_TOLERANCE

    @cached_property
    def _shortest(self) -> NDArray[np.float64]:
        """Shortest distance by two atomic numbers, shape ``(119, 119)``, Angstrom."""
        table = np.full((119, 119), self.cutoff)
        for pair in self.pair_distances:
            low, high = pair.elements
            table[low, high] = table[high, low] = pair.distance
        return table

    @cached_property
    def _seen_fractions(self) -> NDArray[np.float64]:
        """Element fractions of every composition seen, shape ``(n_compositions, 119)``."""
        return np.stack([_fractions(composition) for composition in self.compositions])

    @cached_property
    def _seen_basis(self) -> NDArray[np.float64]:
        """Orthonormal basis of what they span, shape ``(rank, 119)``."""
        _, sizes, rows = np.linalg.svd(self._seen_fractions, full_matrices=False)
        basis: NDArray[np.float64] = rows[sizes > _RANK_TOLERANCE * sizes[0]]
        return basis


def fit_domain(structures: Sequence[Structure], *, cutoff: float) -> TrainingDomain:
    """Record what a set of structures has seen.

    Args:
        structures: The training structures, at least one.
        cutoff: Cutoff of the network, Angstrom.

    Returns:
        The domain.
    """
    shortest: dict[tuple[int, int], float] = {}
    isolated: set[int] = set()
    for structure in structures:
        graph = build_graph(structure, cutoff)
        _shorten(shortest, graph)
        isolated.update(structure.atomic_numbers[isolated_atoms(graph)].tolist())
    compositions = {_composition(structure).counts for structure in structures}
    return TrainingDomain(
        cutoff=cutoff,
        n_structures=len(structures),
        n_atoms_max=max(structure.n_atoms for structure in structures),
        pair_distances=tuple(
            PairDistance(elements=pair, distance=distance)
            for pair, distance in sorted(shortest.items())
        ),
        compositions=tuple(Composition(counts=counts) for counts in sorted(compositions)),
        isolated_elements=tuple(sorted(isolated)),
    )


def isolated_atoms(graph: Graph) -> NDArray[np.int64]:
    """Indices of the atoms without a neighbour within the cutoff."""
    n_neighbors = np.bincount(graph.edge_index[0], minlength=graph.n_atoms)
    return np.flatnonzero(n_neighbors == 0)


def _shorten(shortest: dict[tuple[int, int], float], graph: Graph) -> None:
    if graph.n_edges == 0:
        return
    numbers = np.sort(graph.structure.atomic_numbers[graph.edge_index], axis=0)
    keys = numbers[0] * 119 + numbers[1]
    for key in np.unique(keys):
        pair = (int(key) // 119, int(key) % 119)
        distance = float(graph.distances[keys == key].min())
        shortest[pair] = min(distance, shortest.get(pair, np.inf))


def _composition(structure: Structure) -> Composition:
    numbers, counts = np.unique(structure.atomic_numbers, return_counts=True)
    divisor = gcd(*counts.tolist())
    pairs = zip(numbers.tolist(), (counts // divisor).tolist(), strict=True)
    return Composition(counts=tuple(pairs))


def _fractions(composition: Composition) -> NDArray[np.float64]:
    """Element fractions, shape ``(119,)``, summing to one."""
    fractions = np.zeros(119)
    for number, count in composition.counts:
        fractions[number] = count
    normalised: NDArray[np.float64] = fractions / fractions.sum()
    return normalised
