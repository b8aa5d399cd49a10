"""Which structures a bank does not describe, or is not asked to."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from posterion.errors import (
    Fault,
    StructureTooLarge,
    TooLarge,
    UnsupportedElement,
    UnsupportedProperty,
)
from posterion.graph.batch import Graph
from posterion.graph.skin import SkinList
from posterion.structures.neighbors import estimate_pairs
from posterion.structures.structure import Structure

ATOMS_ALWAYS_LISTED: Final = 500
"""Below this, even all pairs fit into memory."""

ESTIMATE_MARGIN: Final = 1.5
"""How far the estimate of a periodic structure may exceed the limit before it is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureLimits:
    """Largest structure that is evaluated.

    Attributes:
        n_atoms: Atoms.
        n_edges: Directed edges within the cutoff.
    """

    n_atoms: int = 100_000
    n_edges: int = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureChecks:
    """What one bank takes.

    Attributes:
        bank: Its name.
        elements: Atomic numbers that it knows.
        limits: Largest structure.
    """

    bank: str
    elements: tuple[int, ...]
    limits: StructureLimits

    def check(self, structure: Structure, *, cutoff: float) -> None:
        """Refuse what the bank does not describe, or what is too large to be listed.

        Args:
            structure: A checked structure.
            cutoff: Of the bank, Angstrom.

        Raises:
            UnsupportedElement: If the network does not know an element.
            UnsupportedProperty: If the structure is charged or not a singlet.
            StructureTooLarge: If it exceeds the limits.
        """
        self._check_elements(structure)
        _check_neutral_singlet(structure)
        if structure.n_atoms > self.limits.n_atoms:
            raise _too_large("atoms", self.limits.n_atoms, structure.n_atoms)
        expected = _clearly_more(self.limits.n_edges, structure, cutoff)
        if expected is not None:
            raise _too_large("edges", self.limits.n_edges, expected)

    def bounded(self, graph: Graph) -> Graph:
        """A graph that has been found to be within the limits.

        Raises:
            StructureTooLarge: If it has too many edges.
        """
        if graph.n_edges > self.limits.n_edges:
            raise _too_large("edges", self.limits.n_edges, graph.n_edges)
        return graph

    def _check_elements(self, structure: Structure) -> None:
        if set(structure.atomic_numbers.tolist()) <= set(self.elements):
            return
        unknown = np.flatnonzero(~np.isin(structure.atomic_numbers, self.elements))
        if unknown.size == 0:
            return
        known = list(self.elements)
        numbers, first = np.unique(structure.atomic_numbers[unknown], return_index=True)
        faults = tuple(
            Fault(
                pointer=f"/numbers/{unknown[place]}",
                detail=f"expected one of the atomic numbers {known}, got {number}",
            )
            for number, place in zip(numbers.tolist(), first, strict=True)
        )
        raise UnsupportedElement(
            f"bank {self.bank} knows the atomic numbers {known}, "
            f"the structure also has {numbers.tolist()}",
            faults=faults,
        )


def list_pairs(structure: Structure, neighbors: SkinList, *, max_pairs: int) -> Graph:
    """List pairs anew, if there is room for them.

    Args:
        structure: As the bank describes it.
        neighbors: Keeps the list.
        max_pairs: Room, ordered pairs.

    Returns:
        The graph.

    Raises:
        InvalidStructure: If atoms coincide.
        TooLarge: If there are more pairs; then no list is kept.
    """
    neighbors.drop()
    found = _clearly_more(max_pairs, structure, neighbors.radius)
    if found is None:
        graph = neighbors.build(structure)
        found = neighbors.n_pairs
        if found <= max_pairs:
            return graph
        neighbors.drop()
    raise TooLarge(
        f"expected at most {max_pairs} pairs of atoms within the cutoff and the skin "
        f"({neighbors.radius:g} Angstrom), beside those of other images, got {found}; "
        f"a smaller skin lists fewer"
    )


def _clearly_more(limit: int, structure: Structure, cutoff: float) -> int | None:
    """How many pairs a structure has if listing them could take too much memory."""
    if structure.n_atoms <= ATOMS_ALWAYS_LISTED:
        return None
    expected = estimate_pairs(structure.positions, structure.cell, structure.pbc, cutoff=cutoff)
    return round(expected) if expected > ESTIMATE_MARGIN * limit else None


def _check_neutral_singlet(structure: Structure) -> None:
    faults = tuple(
        Fault(pointer=pointer, detail=f"expected {expected}, got {found}")
        for pointer, expected, found in (
            ("/charge", 0, structure.charge),
            ("/spin_multiplicity", 1, structure.spin_multiplicity),
        )
        if found != expected
    )
    if faults:
        raise UnsupportedProperty(
            "; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults), faults=faults
        )


def _too_large(what: str, limit: int, found: int) -> StructureTooLarge:
    detail = f"expected at most {limit} {what}, got {found}"
    return StructureTooLarge(detail, faults=(Fault(pointer="", detail=detail),))
