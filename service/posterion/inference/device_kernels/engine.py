"""All samples of a bank in one forward and one reverse pass, on a GPU."""

from typing import Final

import torch
from torch import Tensor

from posterion.graph.batch import GraphBatch
from posterion.inference.bank import chosen_samples, memory_budget
from posterion.inference.coupling import AngularColumns
from posterion.inference.device_kernels.edges import DeviceEdgeDescriber, DeviceEdges
from posterion.inference.device_kernels.kernel import check_device
from posterion.inference.device_kernels.layer import DeviceLayer, EdgeInputs
from posterion.inference.raw_outputs import (
    RawOutputs,
    Units,
    atomic_energy,
    atomic_noise,
    joined,
)
from posterion.inference.weights import samples_of, single_precision
from posterion.network.config import EnergyReference, NetworkConfig
from posterion.network.freezing import freeze
from posterion.network.frozen import FrozenNetwork
from posterion.network.functional import NetworkOutputs

_VALUES_PER_EDGE: Final = 64
"""Numbers per edge and sample at the end of the reverse, about; most are float64."""


class TritonEngine:
    """Generated Triton kernels over samples that were taken apart; see `BankEngine`.

    Its kernels were run by Triton's interpreter and compiled for GPUs, but never ran on one:
    an operator has to ask for it.
    """

    name: Final = "triton"
    dtype: Final = torch.float32

    def __init__(
        self,
        config: NetworkConfig,
        reference: EnergyReference,
        parameters: Tensor,
        *,
        device: torch.device | str = "cuda",
        memory_bytes: int | None = None,
    ) -> None:
        """Take the samples apart and write the kernels; they are compiled when first used.

        Args:
            config: Architecture.
            reference: Energy reference.
            parameters: Shape ``(n_samples, n_parameters)``.
            device: Where to evaluate; not a CPU, but for Triton's interpreter.
            memory_bytes: Budget of one pass; None = chosen by the device.

        Raises:
            ConfigurationError: If Triton is not installed, or cannot run on the device.
        """
        self.device = torch.device(device)
        check_device(self.device)
        self.n_samples = len(parameters)
        self._memory_bytes = memory_budget(self.device) if memory_bytes is None else memory_bytes
        self._frozen = single_precision(freeze(config, parameters), device=self.device)
        angular, harmonics = AngularColumns(), self._frozen.harmonics
        self._layers = [
            DeviceLayer(shape, angular, n_harmonics=len(harmonics)) for shape in self._frozen.shapes
        ]
        self._describe = DeviceEdgeDescriber(config, harmonics, angular, device=self.device)
        self._units = Units(config, reference, device=self.device)

    def evaluate(
        self, batch: GraphBatch, *, n_samples: int | None, stress: bool, first: int = 0
    ) -> NetworkOutputs:
        """See `BankEngine`."""
        used = chosen_samples(self.n_samples, first, n_samples)
        edges = self._describe(batch)
        at_once = max(1, self._memory_bytes // self._sample_bytes(edges))
        raw = [
            self._run(
                samples_of(self._frozen, slice(start, min(start + at_once, used.stop))),
                edges,
                batch.n_structures,
            )
            for start in range(used.start, used.stop, at_once)
        ]
        return self._units(joined(raw), batch, stress=stress)

    def _run(self, frozen: FrozenNetwork, edges: DeviceEdges, n_structures: int) -> RawOutputs:
        """Forward and reverse pass of some samples."""
        n_samples, n_edges = len(frozen.embedding), edges.n_edges
        inputs = EdgeInputs(
            frozen.embedding.new_zeros(
                (n_samples, n_edges, len(frozen.harmonics)), requires_grad=True
            ),
            frozen.embedding.new_zeros((n_samples, n_edges), requires_grad=True),
        )
        features = [(edges.one_hot @ frozen.embedding)[:, :, None]]
        for layer, weights in zip(self._layers, frozen.layers, strict=True):
            features = layer(weights, edges, inputs, features)
        latent = features[0][:, :, 0]
        energy, by_latent = atomic_energy(latent.detach(), frozen.energy)
        by_harmonic, by_distance = torch.autograd.grad(latent, inputs, by_latent)
        forces, strain = _collected(by_harmonic, by_distance, edges, n_structures)
        return RawOutputs(
            energy=energy,
            noise=atomic_noise(latent.detach(), frozen.noise),
            latent=latent.detach(),
            forces=forces,
            strain=strain,
        )

    def _sample_bytes(self, edges: DeviceEdges) -> int:
        """Memory that one sample takes, about."""
        per_atom = sum(layer.values_per_atom for layer in self._layers)
        return 4 * (edges.n_atoms * per_atom + edges.n_edges * _VALUES_PER_EDGE) or 1


def _collected(
    by_harmonic: Tensor, by_distance: Tensor, edges: DeviceEdges, n_structures: int
) -> tuple[Tensor, Tensor]:
    """Forces and derivatives by strain, in float64, from derivatives by edges."""
    pull = by_distance.double()[:, :, None] * edges.unit
    pull = pull + torch.einsum("keh,eha->kea", by_harmonic.double(), edges.jacobian)
    forces = pull.new_zeros((len(pull), edges.n_atoms, 3))
    forces.index_add_(1, edges.centre, pull).index_add_(1, edges.neighbor, -pull)
    strain = pull.new_zeros((len(pull), n_structures, 3, 3))
    virial = edges.vectors[:, :, None] * pull[:, :, None]
    return forces, strain.index_add_(1, edges.structure[edges.centre], virial)
