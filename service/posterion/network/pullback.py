"""Derivatives by the edges of whatever is computed from what samples say.

A scalar that depends on the forces of many samples needs their second derivatives, but only
along one direction per sample: the derivative of the scalar by that sample's forces. So the
forces of all samples are computed once more, this time keeping the graph, and one more
reverse pass takes them all back to the edges together.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from posterion.graph.batch import GraphBatch
from posterion.network.functional import NetworkFunction, Topology
from posterion.network.noise import NOISE_MODELS


class Cotangents(NamedTuple):
    """Derivatives of a scalar by what samples say; None where it does not depend on it.

    Attributes:
        forces: Shape ``(n_samples, n_atoms, 3)``.
        force_epistemic_std: Shape ``(n_samples, n_atoms)``.
        latent: By the final scalars of the first sample, ``(n_atoms, n_features)``.
    """

    forces: Tensor | None = None
    force_epistemic_std: Tensor | None = None
    latent: Tensor | None = None


def pull_back(
    function: NetworkFunction, parameters: Tensor, batch: GraphBatch, by: Cotangents
) -> Tensor:
    """Derivatives of a scalar by the edge vectors, summed over the samples.

    Args:
        function: The network.
        parameters: Shape ``(n_samples, n_parameters)``, of the function's dtype.
        batch: Structures, of the function's dtype and device.
        by: Derivatives of the scalar by what these samples say of the batch, likewise.

    Returns:
        Shape ``(n_edges, 3)``, float64; edges of one structure feel that structure alone.
    """
    n_edges = batch.edge_index.shape[1]
    if n_edges == 0:
        return torch.zeros((0, 3), dtype=torch.float64, device=function.device)
    centre, neighbor = batch.edge_index
    vectors = batch.vectors.repeat(len(parameters), 1, 1).requires_grad_()
    topology = Topology(
        centre, neighbor, function.one_hot(batch.atomic_numbers), batch.structure_index
    )
    outputs = function.centred(parameters, vectors, topology, n_structures=batch.n_structures)
    pulled = vectors.new_zeros(())
    if by.forces is not None:
        (slopes,) = torch.autograd.grad(outputs.energy.sum(), vectors, create_graph=True)
        # The force on an atom is the sum of its edges' slopes less that of those that end there.
        pulled = pulled + (slopes * (by.forces[:, centre] - by.forces[:, neighbor])).sum()
    if by.force_epistemic_std is not None:
        model, scale = NOISE_MODELS[function.config.noise_readout], function.config.noise_scale
        std = model.force_epistemic_std(outputs.noise, scale=scale)
        if std is not None:
            pulled = pulled + (std * by.force_epistemic_std).sum()
    if by.latent is not None:
        pulled = pulled + (outputs.latent[0] * by.latent).sum()
    (found,) = torch.autograd.grad(pulled, vectors)
    return found.double().sum(dim=0)
