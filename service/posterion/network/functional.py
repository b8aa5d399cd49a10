"""One flat parameter vector in, energies, forces and noise out; or many vectors at once.

Many parameter vectors share one forward and one reverse pass: displacements carry a sample
axis, so the gradient of the summed energy keeps every sample's forces apart.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from posterion.graph.batch import GraphBatch
from posterion.network.config import EnergyReference, NetworkConfig, UnitKind
from posterion.network.input_units import input_units
from posterion.network.model import StochasticNequIP, build_network
from posterion.network.noise import NOISE_MODELS


class NetworkOutputs(NamedTuple):
    """What ``n_samples`` parameter vectors answer for one batch.

    Attributes:
        energy: Shape ``(n_samples, n_structures)``, float64, eV, reference included.
        forces: Shape ``(n_samples, n_atoms, 3)``, eV/Angstrom.
        stress: Shape ``(n_samples, n_structures, 3, 3)``, eV/Angstrom^3, positive =
            tension; None unless asked for.
        force_std: Aleatoric force noise per component, ``(n_samples, n_atoms)``.
        energy_std: Aleatoric energy noise, shape ``(n_structures,)``, eV.
        latent: Final scalars, shape ``(n_samples, n_atoms, n_features)``.
        force_epistemic_std: What each sample itself says it does not know of a force
            component, ``(n_samples, n_atoms)``, eV/Angstrom; None where samples say
            nothing of the kind, and only their spread is epistemic.
    """

    energy: Tensor
    forces: Tensor
    stress: Tensor | None
    force_std: Tensor
    energy_std: Tensor
    latent: Tensor
    force_epistemic_std: Tensor | None = None


class CentredOutputs(NamedTuple):
    """Differentiable outputs before the energy reference is added; axes as above.

    Attributes:
        energy: Shape ``(n_samples, n_structures)``, eV above the reference.
        noise: Shape ``(n_samples, n_atoms, n_outputs)``, read by `posterion.network.noise`.
        latent: Shape ``(n_samples, n_atoms, n_features)``.
    """

    energy: Tensor
    noise: Tensor
    latent: Tensor


class Topology(NamedTuple):
    """Which atoms the edges join, and which structures the atoms form.

    Attributes:
        centre: Shape ``(n_edges,)``.
        neighbor: Shape ``(n_edges,)``.
        one_hot: Shape ``(n_atoms, n_elements)``.
        structure_index: Shape ``(n_atoms,)``.
    """

    centre: Tensor
    neighbor: Tensor
    one_hot: Tensor
    structure_index: Tensor


class ParameterLayout:
    """How the named weights of a network lie in one flat vector."""

    def __init__(self, network: StochasticNequIP) -> None:
        """Record names, shapes and order of the weights."""
        self.shapes = {name: weight.shape for name, weight in network.named_parameters()}
        self.n_parameters = sum(shape.numel() for shape in self.shapes.values())

    def unflatten(self, parameters: Tensor) -> dict[str, Tensor]:
        """View a vector, shape ``(n_parameters,)``, as named weights."""
        pieces = torch.split(parameters, [shape.numel() for shape in self.shapes.values()])
        return {
            name: piece.view(shape)
            for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True)
        }

    def positions(self, name: str) -> slice:
        """Where the elements of a named weight lie in the vector."""
        names = list(self.shapes)
        first = sum(self.shapes[other].numel() for other in names[: names.index(name)])
        return slice(first, first + self.shapes[name].numel())

    def flatten(self, weights: Mapping[str, Tensor]) -> Tensor:
        """Concatenate named weights into one vector, shape ``(n_parameters,)``."""
        return torch.cat([weights[name].detach().reshape(-1) for name in self.shapes])


class NetworkFunction:
    """The network as a function of its parameters; holds no weights of its own."""

    def __init__(
        self,
        config: NetworkConfig,
        reference: EnergyReference,
        *,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:
        """Build the module once; its weights are replaced at every call.

        Args:
            config: Architecture.
            reference: Energy reference.
            dtype: Floating type of the evaluation.
            device: Where to evaluate.
        """
        self.config = config
        self.reference = reference
        self.dtype = dtype
        self.device = torch.device(device)
        network = build_network(config, torch.Generator().manual_seed(0))
        self.layout = ParameterLayout(network)
        network.requires_grad_(requires_grad=False)
        self._network = network.to(device=self.device, dtype=dtype)
        species = torch.full((119,), -1, dtype=torch.int64)
        species[list(config.elements)] = torch.arange(len(config.elements))
        shifts = torch.zeros(119, dtype=torch.float64)
        for number, shift in reference.shifts.items():
            shifts[number] = shift
        self._species = species.to(self.device)
        self._shifts = shifts.to(self.device)

    @property
    def n_parameters(self) -> int:
        """Length of one parameter vector."""
        return self.layout.n_parameters

    def initial_parameters(self, generator: torch.Generator) -> Tensor:
        """Draw a start for training, shape ``(n_parameters,)``, float64 on the CPU."""
        network = build_network(self.config, generator)
        return self.layout.flatten(dict(network.named_parameters()))

    @property
    def last_energy_weights(self) -> slice:
        """Parameters in which the energy is linear: the last layer of its readout."""
        return self.layout.positions("energy_readout.network.layer1.weight")

    def input_units(self, kind: UnitKind) -> Tensor:
        """Which unit each parameter reads, int64, shape ``(n_parameters,)``; 0 for none."""
        return self.layout.flatten(input_units(self._network, kind))

    def one_hot(self, atomic_numbers: Tensor) -> Tensor:
        """One-hot elements, shape ``(n_atoms, n_elements)``; unknown numbers give zeros."""
        known = torch.arange(len(self.config.elements), device=self.device)
        return (self._species[atomic_numbers][:, None] == known).to(self.dtype)

    def centred(
        self,
        parameters: Tensor,
        vectors: Tensor,
        topology: Topology,
        *,
        n_structures: int,
        sum_dtype: torch.dtype | None = None,
    ) -> CentredOutputs:
        """Evaluate energies above the reference; differentiable in parameters and vectors.

        One vectorised pass over the samples; a single sample takes the plain module.

        Args:
            parameters: Shape ``(n_samples, n_parameters)``.
            vectors: Shape ``(n_samples, n_edges, 3)``, centre to neighbour, Angstrom.
            topology: Edges and atoms, shared by the samples or, with a leading sample axis
                on every tensor, one batch per sample.
            n_structures: Number of structures in each batch.
            sum_dtype: Type in which atomic energies are summed; default this function's.

        Returns:
            Energies, noise and latent scalars with a leading sample axis.
        """
        total = sum_dtype or self.dtype

        def one(weights: Tensor, edges: Tensor, shared: Topology) -> CentredOutputs:
            atomic = functional_call(
                self._network,
                self.layout.unflatten(weights),
                (edges, shared.centre, shared.neighbor, shared.one_hot),
            )
            energy = torch.zeros(n_structures, dtype=total, device=self.device).index_add(
                0, shared.structure_index, atomic.energy.to(total)
            )
            return CentredOutputs(energy * self.reference.scale, atomic.noise, atomic.latent)

        per_sample = topology.centre.dim() > 1
        if parameters.shape[0] > 1:
            outputs: CentredOutputs = vmap(one, in_dims=(0, 0, 0 if per_sample else None))(
                parameters, vectors, topology
            )
            return outputs
        only = Topology(*(field[0] for field in topology)) if per_sample else topology
        single = one(parameters[0], vectors[0], only)
        return CentredOutputs(*(field[None] for field in single))

    def evaluate(self, parameters: Tensor, batch: GraphBatch, *, stress: bool) -> NetworkOutputs:
        """Evaluate all samples in one forward and one reverse pass.

        Args:
            parameters: Shape ``(n_samples, n_parameters)``, of this function's dtype.
            batch: Structures, of this function's dtype and device.
            stress: Whether to differentiate with respect to strain as well.

        Returns:
            Outputs with a leading sample axis. Stress of a structure without a cell is NaN.
        """
        n_samples = parameters.shape[0]
        centre, neighbor = batch.edge_index
        n_atoms = len(batch.atomic_numbers)
        displacements = batch.vectors.new_zeros((n_samples, n_atoms, 3), requires_grad=True)
        inputs = [displacements]
        vectors = batch.vectors + displacements[:, neighbor] - displacements[:, centre]
        if stress:
            strain = vectors.new_zeros((n_samples, batch.n_structures, 3, 3), requires_grad=True)
            inputs.append(strain)
            symmetric = (strain + strain.transpose(2, 3)) / 2
            edge_strain = symmetric[:, batch.structure_index[centre]]
            vectors = vectors + torch.einsum("kei,keij->kej", vectors, edge_strain)
        topology = Topology(
            centre, neighbor, self.one_hot(batch.atomic_numbers), batch.structure_index
        )
        # In float32 the sum over ten thousand atoms is off by several meV.
        centred = self.centred(
            parameters,
            vectors,
            topology,
            n_structures=batch.n_structures,
            sum_dtype=torch.float64,
        )
        gradients = torch.autograd.grad(
            centred.energy.sum(), inputs, allow_unused=True, materialize_grads=True
        )
        model, noise = NOISE_MODELS[self.config.noise_readout], centred.noise.detach()
        return NetworkOutputs(
            energy=centred.energy.detach() + self.reference_energy(batch),
            forces=-gradients[0],
            stress=gradients[1] / _volume(batch)[:, None, None] if stress else None,
            force_std=model.force_std(noise, scale=self.config.noise_scale),
            energy_std=self.reference.energy_std_per_sqrt_atom * batch.n_atoms.double().sqrt(),
            latent=centred.latent.detach(),
            force_epistemic_std=model.force_epistemic_std(noise, scale=self.config.noise_scale),
        )

    def evaluate_one(
        self, parameters: Tensor, batch: GraphBatch, *, stress: bool
    ) -> NetworkOutputs:
        """Evaluate one sample, parameters of shape ``(n_parameters,)``, without vmap."""
        return self.evaluate(parameters[None], batch, stress=stress)

    def reference_energy(self, batch: GraphBatch) -> Tensor:
        """Sum of atomic reference energies, float64, eV, shape ``(n_structures,)``."""
        total = torch.zeros(batch.n_structures, dtype=torch.float64, device=self.device)
        return total.index_add(0, batch.structure_index, self._shifts[batch.atomic_numbers])


def _volume(batch: GraphBatch) -> Tensor:
    """Cell volumes, Angstrom^3, shape ``(n_structures,)``; NaN without a cell."""
    volume = torch.linalg.det(batch.cell).abs()
    return torch.where(volume > 0, volume, torch.nan)
