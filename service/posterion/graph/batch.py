"""How structures of any mix become one batch of tensors.

Building a graph is numpy and may run in any thread; collating copies to the device.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posterion.structures.neighbors import neighbor_pairs
from posterion.structures.structure import Structure

SEARCH_MARGIN: Final = 1e-9
"""By how much of the cutoff pairs are searched beyond it: which of them are edges is decided
by their distance here, and not by the arithmetic of a search."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Graph:
    """One structure with its edges.

    Attributes:
        structure: The structure the edges belong to.
        edge_index: Shape ``(2, n_edges)``: row 0 = centre i, row 1 = neighbour j.
        shifts: Shape ``(n_edges, 3)``, Angstrom: r_ij = positions[j] + shift - positions[i].
        vectors: Shape ``(n_edges, 3)``, Angstrom: r_ij, from centre to neighbour.
        distances: Shape ``(n_edges,)``, Angstrom.
    """

    structure: Structure
    edge_index: NDArray[np.int64]
    shifts: NDArray[np.float64]
    vectors: NDArray[np.float64]
    distances: NDArray[np.float64]

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return self.structure.n_atoms

    @property
    def n_edges(self) -> int:
        """Number of directed edges."""
        return int(self.edge_index.shape[1])

    @property
    def min_distance(self) -> float:
        """Shortest edge in Angstrom; infinity without edges."""
        return float(self.distances.min(initial=np.inf))


def build_graph(structure: Structure, cutoff: float) -> Graph:
    """Find the edges of one structure.

    Args:
        structure: A checked structure.
        cutoff: Largest edge length, Angstrom.

    Returns:
        The graph, both directions of every pair included, in the order of centre, neighbour
        and image.
    """
    radius = cutoff * (1.0 + SEARCH_MARGIN)
    pairs = neighbor_pairs(structure.positions, structure.cell, structure.pbc, cutoff=radius)
    vectors = pairs.vectors(structure.positions)
    distances = np.linalg.norm(vectors, axis=1)
    inside = slice(None) if distances.max(initial=0.0) < cutoff else distances < cutoff
    return Graph(
        structure=structure,
        edge_index=np.stack([pairs.centre[inside], pairs.neighbor[inside]]),
        shifts=pairs.shifts[inside],
        vectors=vectors[inside],
        distances=distances[inside],
    )


def bounded_runs(
    graphs: Sequence[Graph], *, n_edges: int, n_graphs: int | None = None
) -> Iterator[slice]:
    """Cut a sequence into runs to evaluate together.

    Args:
        graphs: Any number of graphs.
        n_edges: Most edges of a run; a graph with more has a run of its own.
        n_graphs: Most graphs of a run; None = any number.

    Yields:
        Slices of ``graphs`` in order, none empty.
    """
    start, edges = 0, 0
    for index, graph in enumerate(graphs):
        full = n_graphs is not None and index - start >= n_graphs
        if index > start and (full or edges + graph.n_edges > n_edges):
            yield slice(start, index)
            start, edges = index, 0
        edges += graph.n_edges
    if graphs:
        yield slice(start, len(graphs))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GraphBatch:
    """Structures evaluated together, concatenated atom by atom.

    Positions enter through the edge vectors alone, which are differences taken in float64:
    coordinates far apart, or unwrapped by many cells, keep their digits in float32.

    Attributes:
        atomic_numbers: Shape ``(n_atoms,)``.
        edge_index: Shape ``(2, n_edges)``: row 0 = centre, row 1 = neighbour.
        vectors: Shape ``(n_edges, 3)``, Angstrom, from centre to neighbour.
        structure_index: Shape ``(n_atoms,)``: which structure an atom belongs to.
        cell: Shape ``(n_structures, 3, 3)``, Angstrom, rows = vectors; zeros if none.
        n_structures: Number of structures.
    """

    atomic_numbers: Tensor
    edge_index: Tensor
    vectors: Tensor
    structure_index: Tensor
    cell: Tensor
    n_structures: int

    @property
    def n_atoms(self) -> Tensor:
        """Atoms per structure, shape ``(n_structures,)``."""
        return torch.bincount(self.structure_index, minlength=self.n_structures)


def collate(
    graphs: Sequence[Graph], *, dtype: torch.dtype, device: torch.device | str
) -> GraphBatch:
    """Concatenate graphs into one batch on a device.

    Args:
        graphs: At least one graph.
        dtype: Floating type of edge vectors and cells.
        device: Where the tensors go.

    Returns:
        The batch, in the order of ``graphs``.
    """
    if not graphs:
        raise ValueError("graphs must hold at least one graph, got none")
    sizes = np.array([graph.n_atoms for graph in graphs])
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    edges = [graph.edge_index + offset for graph, offset in zip(graphs, offsets, strict=True)]
    cells = [np.zeros((3, 3)) if g.structure.cell is None else g.structure.cell for g in graphs]

    def real(array: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(array).to(device=device, dtype=dtype)

    def whole(array: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(array).to(device=device)

    return GraphBatch(
        atomic_numbers=whole(np.concatenate([g.structure.atomic_numbers for g in graphs])),
        edge_index=whole(np.concatenate(edges, axis=1)),
        vectors=real(np.concatenate([graph.vectors for graph in graphs])),
        structure_index=whole(np.repeat(np.arange(len(graphs)), sizes)),
        cell=real(np.stack(cells)),
        n_structures=len(graphs),
    )
