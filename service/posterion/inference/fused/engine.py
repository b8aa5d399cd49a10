"""All samples of a bank in one forward and one hand-written reverse pass, on a CPU."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posterion.graph.batch import GraphBatch
from posterion.inference.fused.convolution import (
    TABLE_ROWS,
    AngularColumns,
    backward_source,
    forward_source,
    slots_of,
)
from posterion.inference.fused.gates import gate_back_source, gate_source
from posterion.inference.fused.geometry import edges_source, forces_source
from posterion.inference.fused.source import Kernel, compiled
from posterion.network.config import EnergyReference, NetworkConfig
from posterion.network.freezing import freeze
from posterion.network.frozen import FrozenNetwork, LayerShape, LayerWeights
from posterion.network.functional import NetworkOutputs
from posterion.network.spline import DEGREE
from posterion.network.noise import NOISE_MODELS

FloatArray = NDArray[np.float32]
DTYPE: Final = torch.float32


class _Layer(NamedTuple):
    """One layer of some samples: its shape, its single-precision weights, its kernels."""

    shape: LayerShape
    weights: LayerWeights
    convolve: Kernel
    convolve_back: Kernel
    gate: Kernel
    gate_back: Kernel


class _Edges(NamedTuple):
    """What all samples share of a batch; atoms are ordered by element.

    Attributes:
        order: Atoms of the batch in the order of the engine.
        spans: First and last atom, exclusive, of every element that occurs.
        species: Element of each atom, ordered.
        structure: Structure of each atom.
        vectors: Shape ``(n_edges, 3)``, edges ordered by centre.
        first: First edge of each atom, and the number of edges.
        neighbor: Of each edge.
        jacobian: See `edges_source`; so are the other fields.
    """

    order: Tensor
    spans: tuple[tuple[int, int, int], ...]
    species: Tensor
    structure: NDArray[np.int64]
    vectors: FloatArray
    first: NDArray[np.int64]
    neighbor: NDArray[np.int64]
    jacobian: FloatArray
    unit: FloatArray
    angular: FloatArray
    knot: NDArray[np.int64]
    weight: FloatArray
    slope: FloatArray


class FusedEngine:
    """Kernels that are generated for the network, over samples that were taken apart.

    Per sample: forces, stress, noise and latent scalars from one forward and one reverse pass;
    nothing is differentiated by weights.
    """

    name: Final = "fused"
    dtype: Final = DTYPE
    device: Final = torch.device("cpu")

    def __init__(
        self, config: NetworkConfig, reference: EnergyReference, parameters: Tensor
    ) -> None:
        """Take the samples apart and write the kernels.

        Args:
            config: Architecture.
            reference: Energy reference.
            parameters: Shape ``(n_samples, n_parameters)``.
        """
        self._config, self._reference = config, reference
        self.n_samples = len(parameters)
        frozen = freeze(config, parameters)
        self._frozen = _single(frozen)
        self._angular = AngularColumns()
        self._layers = _layers(self._frozen, self._angular)
        first = self._frozen.layers[0]
        embedding = self._frozen.embedding
        self._first_mixed = embedding @ first.mix_in[0]
        self._first_inherit = [
            None if row[0] is None else (embedding[:, :, None] @ row[0])[:, :, 0]
            for row in first.inherit
        ]
        self._describe = compiled(edges_source(frozen.harmonics, self._angular))
        self._collect = compiled(forces_source())
        self._species = torch.full((119,), -1, dtype=torch.int64)
        self._species[list(config.elements)] = torch.arange(len(config.elements))
        self._shifts = torch.zeros(119, dtype=torch.float64)
        for number, shift in reference.shifts.items():
            self._shifts[number] = shift

    def evaluate(self, batch: GraphBatch, *, n_samples: int | None, stress: bool) -> NetworkOutputs:
        """See `BankEngine`."""
        used = slice(0, self.n_samples if n_samples is None else n_samples)
        edges = self._edges(batch)
        return self._samples(used, batch, edges, stress=stress)

    def _edges(self, batch: GraphBatch) -> _Edges:
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
        n_harmonics = len(self._frozen.harmonics)
        jacobian = np.empty((n_edges, n_harmonics, 3), dtype=np.float32)
        unit = np.empty((n_edges, 3), dtype=np.float32)
        angular = np.empty((n_edges, len(self._angular.combinations)), dtype=np.float32)
        knot = np.empty(n_edges, dtype=np.int64)
        weight, slope = np.empty((2, n_edges, TABLE_ROWS), dtype=np.float32)
        n_intervals = self._frozen.layers[0].radial.shape[1] - DEGREE
        density = n_intervals / self._config.cutoff
        last = np.nextafter(float(n_intervals), 0.0)
        self._describe(vectors, density, last, jacobian, unit, angular, knot, weight, slope)
        ordered = species[order]
        counts = torch.bincount(ordered, minlength=len(self._config.elements)).tolist()
        ends = np.cumsum(counts).tolist()
        return _Edges(
            order=order,
            spans=tuple(
                (element, end - count, end)
                for element, (count, end) in enumerate(zip(counts, ends, strict=True))
                if count
            ),
            species=ordered,
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

    def _samples(
        self, used: slice, batch: GraphBatch, edges: _Edges, *, stress: bool
    ) -> NetworkOutputs:
        frozen = self._frozen
        embedding = frozen.embedding[used]
        n_samples, n_atoms, n_features = len(embedding), len(edges.order), embedding.shape[2]
        features: list[Tensor] = []
        passed = []
        for number, layer in enumerate(self._layers):
            mixed, sums, sigmoid, features = self._forward(number, layer, used, edges, features)
            passed.append((mixed, sums, sigmoid))
        latent = features[0].view(n_samples, n_atoms, n_features)
        energy, noise, by_latent = self._read_out(latent, used)
        by_harmonic = np.zeros(
            (n_samples, len(edges.vectors), len(frozen.harmonics)), dtype=np.float32
        )
        by_distance = np.zeros((n_samples, len(edges.vectors)), dtype=np.float32)
        by_feature = [by_latent[:, :, None]]
        for number in range(len(self._layers) - 1, -1, -1):
            by_feature = self._backward(
                number, used, edges, passed[number], by_feature, (by_harmonic, by_distance)
            )
        forces = np.zeros((n_samples, n_atoms, 3))
        strain = np.zeros((n_samples, batch.n_structures, 3, 3))
        self._collect(
            by_harmonic, by_distance, edges.jacobian, edges.unit, edges.vectors, edges.first,
            edges.neighbor, edges.structure, forces, strain,
        )
        return self._outputs(batch, edges, energy, noise, latent, forces, strain, stress=stress)

    def _forward(self, number, layer, used, edges, features):
        shape, weights = layer.shape, layer.weights
        n_samples, n_atoms, n = len(weights.radial[used]), len(edges.order), shape.n_features
        if number == 0:
            mixed = [self._first_mixed[used][:, edges.species][:, :, None]]
        else:
            mixed = [
                torch.bmm(x.view(n_samples, -1, n), w[used]).view(x.shape)
                for x, w in zip(features, weights.mix_in, strict=True)
            ]
        messages = [
            torch.empty((n_samples, n_atoms, d, s * n))
            for d, s in zip(shape.targets, slots_of(shape), strict=True)
        ]
        layer.convolve(
            *(x.flatten(2).numpy() for x in mixed), weights.radial[used].numpy(), edges.angular, edges.first,
            edges.neighbor, edges.knot, edges.weight, *(m.flatten(2).numpy() for m in messages),
        )
        sums = [
            torch.bmm(m.view(n_samples, -1, m.shape[3]), w[used]).view(n_samples, n_atoms, d, -1)
            for m, w, d in zip(messages, weights.mix_out, shape.targets, strict=True)
        ]
        for target, row in enumerate(weights.inherit):
            if number == 0:
                own = self._first_inherit[target]
                if own is not None:
                    sums[target] += own[used][:, edges.species][:, :, None]
                continue
            for source, matrix in enumerate(row):
                if matrix is not None:
                    for element, start, stop in edges.spans:
                        into = sums[target][:, start:stop].flatten(1, 2)
                        into.baddbmm_(features[source][:, start:stop].flatten(1, 2), matrix[used][:, element])
        sigmoid = sums[0].sigmoid()
        out = [torch.empty((n_samples, n_atoms, d, n)) for d in shape.targets]
        layer.gate(*(o.numpy() for o in sums), sigmoid.numpy(), *(x.numpy() for x in out))
        return mixed, sums, sigmoid, out

    def _read_out(self, latent, used):
        energy, noise = self._frozen.energy, self._frozen.noise
        told = []
        for one in (energy, noise):
            hidden = torch.bmm(latent, one.hidden[used])
            sigmoid = hidden.sigmoid()
            told.append(torch.bmm(hidden * sigmoid, one.out[used]) + one.offset[used][:, None])
            if one is energy:
                slope = sigmoid * (1.0 + hidden * (1.0 - sigmoid))
                by_hidden = slope * one.out[used][:, None, :, 0]
                by_latent = torch.bmm(by_hidden, one.hidden[used].transpose(1, 2))
        return told[0][:, :, 0], told[1], by_latent

    def _backward(self, number, used, edges, passed, by_feature, by_edge):
        layer = self._layers[number]
        shape, weights = layer.shape, layer.weights
        mixed, sums, sigmoid = passed
        n_samples, n_atoms = sums[0].shape[:2]
        layer.gate_back(*(o.numpy() for o in sums), sigmoid.numpy(), *(z.numpy() for z in by_feature))
        by_sum = [
            torch.bmm(y.flatten(1, 2), w[used].transpose(1, 2)).view(n_samples, n_atoms, d, -1)
            for y, w, d in zip(sums, weights.mix_out, shape.targets, strict=True)
        ]
        is_first = number == 0
        by_mixed = [] if is_first else [torch.zeros_like(x) for x in mixed]
        layer.convolve_back(
            *(x.flatten(2).numpy() for x in mixed), weights.radial[used].numpy(), edges.angular, edges.first,
            edges.neighbor, edges.knot, edges.weight, edges.slope, *(y.flatten(2).numpy() for y in by_sum),
            *(z.flatten(2).numpy() for z in by_mixed), *by_edge,
        )
        if is_first:
            return []
        back = [
            torch.bmm(z.flatten(1, 2), w[used].transpose(1, 2)).view(z.shape)
            for z, w in zip(by_mixed, weights.mix_in, strict=True)
        ]
        for target, row in enumerate(weights.inherit):
            for source, matrix in enumerate(row):
                if matrix is not None:
                    for element, start, stop in edges.spans:
                        into = back[source][:, start:stop].flatten(1, 2)
                        into.baddbmm_(sums[target][:, start:stop].flatten(1, 2), matrix[used][:, element].transpose(1, 2))
        return back

    def _outputs(self, batch, edges, energy, noise, latent, forces, strain, *, stress):
        scale = self._reference.scale
        structure = torch.from_numpy(edges.structure)
        total = torch.zeros((len(energy), batch.n_structures), dtype=torch.float64)
        total.index_add_(1, structure, energy.double())
        back = torch.empty_like(edges.order)
        back[edges.order] = torch.arange(len(back))
        shifts = torch.zeros(batch.n_structures, dtype=torch.float64).index_add(
            0, batch.structure_index, self._shifts[batch.atomic_numbers]
        )
        model, noise = NOISE_MODELS[self._config.noise_readout], noise[:, back]
        volume = torch.linalg.det(batch.cell.double()).abs()
        strained = torch.from_numpy(strain) * scale
        return NetworkOutputs(
            energy=total * scale + shifts,
            forces=torch.from_numpy(forces)[:, back] * scale,
            stress=0.5 * (strained + strained.transpose(2, 3)) / torch.where(volume > 0, volume, torch.nan)[:, None, None] if stress else None,
            force_std=model.force_std(noise, scale=self._config.noise_scale),
            energy_std=self._reference.energy_std_per_sqrt_atom * batch.n_atoms.double().sqrt(),
            latent=latent[:, back],
            force_epistemic_std=model.force_epistemic_std(noise, scale=self._config.noise_scale),
        )


def _single(frozen: FrozenNetwork) -> FrozenNetwork:
    """The same in single precision."""
    def cast(value):
        if isinstance(value, Tensor):
            return value.to(DTYPE)
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*(cast(one) for one in value))
        if isinstance(value, tuple):
            return tuple(cast(one) for one in value)
        return value
    return cast(frozen)


def _layers(frozen: FrozenNetwork, angular: AngularColumns) -> list[_Layer]:
    return [
        _Layer(
            shape, weights,
            compiled(forward_source(shape, angular)),
            compiled(backward_source(shape, angular, is_first=number == 0)),
            compiled(gate_source(shape)),
            compiled(gate_back_source(shape)),
        )
        for number, (shape, weights) in enumerate(zip(frozen.shapes, frozen.layers, strict=True))
    ]
