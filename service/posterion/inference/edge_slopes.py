"""From derivatives by what samples say to those by edges, positions and cell."""

from typing import Final

import numpy as np
import torch
from torch import Tensor

from posterion.graph.batch import Graph, GraphBatch
from posterion.inference.answers import FloatArray
from posterion.inference.bank import memory_budget, pass_bytes
from posterion.inference.reduction import exact
from posterion.network.functional import NetworkFunction
from posterion.network.pullback import Cotangents, pull_back

CPU_EDGES: Final = 1200
"""Edges times samples of one pass on a CPU. Below, what is called for an operation costs more
than the operation; with many more, what one operation leaves for the next is out of the cache
by then (twelve samples of four ethanols take 10 % longer together than four at a time, those of
16 in double precision 30 % longer than one after the other)."""


def slopes_by_edges(
    function: NetworkFunction, parameters: Tensor, batch: GraphBatch, by: Cotangents
) -> FloatArray:
    """Derivatives of a scalar by the edge vectors, in as many passes as memory asks for.

    Args:
        function: The network.
        parameters: Shape ``(n_samples, n_parameters)``.
        batch: Structures of the function's dtype and device.
        by: Derivatives by what these samples say.

    Returns:
        Shape ``(n_edges, 3)``, on the CPU.

    Raises:
        MemoryError: See `posterion.inference.bank.BankEngine`.
    """
    n_edges = batch.edge_index.shape[1]
    at_once = _samples_at_once(function, n_edges)
    edges = torch.zeros((n_edges, 3), dtype=torch.float64, device=function.device)

    def part(tensor: Tensor | None, chosen: slice) -> Tensor | None:
        if tensor is None:
            return None
        return tensor[chosen].to(device=function.device, dtype=function.dtype)

    for first in range(0, len(parameters), at_once):
        chosen = slice(first, first + at_once)
        these = Cotangents(
            forces=part(by.forces, chosen),
            force_epistemic_std=part(by.force_epistemic_std, chosen),
            latent=part(by.latent, slice(None)) if first == 0 else None,
        )
        edges += pull_back(function, parameters[chosen], batch, these)
    return exact(edges).numpy()


def _samples_at_once(function: NetworkFunction, n_edges: int) -> int:
    # The estimate is of single precision and ample: measured were 0.8 of it with the second
    # derivatives of 14 400 edges, and 1.5 in double precision.
    size = pass_bytes(function.config, n_edges=n_edges) * function.dtype.itemsize // 4
    fitting = memory_budget(function.device) // max(1, size)
    if function.device.type == "cpu":
        fitting = min(fitting, CPU_EDGES // max(1, n_edges))
    return max(1, fitting)


def by_positions(graph: Graph, edges: FloatArray) -> FloatArray:
    """Derivatives by the positions at a fixed cell, shape ``(n_atoms, 3)``.

    Args:
        graph: The structure.
        edges: By its edge vectors, shape ``(n_edges, 3)``.
    """
    centre, neighbor = graph.edge_index
    positions = np.zeros((graph.n_atoms, 3))
    np.add.at(positions, neighbor, edges)
    np.subtract.at(positions, centre, edges)
    return positions


def by_cell(graph: Graph, strain: FloatArray | None) -> FloatArray | None:
    """Derivative by the cell at fixed fractional coordinates.

    Rows of the cell turn into ``cell @ (1 + strain)``, and edges with them.

    Args:
        graph: The structure.
        strain: Derivative by the strain, shape ``(3, 3)``.

    Returns:
        Shape ``(3, 3)``; None unless the structure is fully periodic.
    """
    cell = graph.structure.cell
    if cell is None or strain is None or not graph.structure.fully_periodic:
        return None
    return np.asarray(np.linalg.solve(cell.T, strain), dtype=np.float64)
