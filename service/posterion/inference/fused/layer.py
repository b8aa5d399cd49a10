"""One layer of all samples: matrix products between the generated kernels, and their reverse.

Features of K samples are kept per block, ``(K, n_atoms, 2 l + 1, n_features)``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posterion.inference.coupling import AngularColumns, slots_of
from posterion.inference.fused.convolution import backward_source, forward_source
from posterion.inference.fused.edges import Edges
from posterion.inference.fused.gates import gate_back_source, gate_source
from posterion.inference.fused.kernel import compiled
from posterion.network.frozen import LayerShape, LayerWeights


class Passed(NamedTuple):
    """What the reverse of a layer needs of its forward pass.

    Attributes:
        mixed: Features as the convolution saw them, per source.
        sums: What the gate was given, per target; the reverse overwrites it.
        sigmoid: Of the first sums.
    """

    mixed: list[Tensor]
    sums: list[Tensor]
    sigmoid: Tensor


class ByEdge(NamedTuple):
    """Derivatives of the energies, collected over the layers.

    Attributes:
        harmonic: Shape ``(K, n_edges, n_harmonics)``.
        distance: Shape ``(K, n_edges)``.
    """

    harmonic: NDArray[np.float32]
    distance: NDArray[np.float32]


class FusedLayer:
    """A layer whose features depend on positions: any but the first."""

    _is_first = False

    def __init__(self, shape: LayerShape, angular: AngularColumns) -> None:
        """Write the kernels.

        Args:
            shape: Of the layer.
            angular: Takes up the combinations of harmonics that it needs.
        """
        self._shape = shape
        self._slots = slots_of(shape)
        self._convolve = compiled(forward_source(shape, angular))
        self._convolve_back = compiled(backward_source(shape, angular, is_first=self._is_first))
        self._gate = compiled(gate_source(shape))
        self._gate_back = compiled(gate_back_source(shape))

    @property
    def values_per_atom(self) -> int:
        """Numbers per atom and sample that a forward pass and its reverse keep, about."""
        return self._shape.n_features * sum(
            size * (2 * n_slots + 4)
            for size, n_slots in zip(self._shape.targets, self._slots, strict=True)
        )

    def forward(
        self, weights: LayerWeights, edges: Edges, features: Sequence[Tensor]
    ) -> tuple[list[Tensor], Passed]:
        """Return the features that leave, and what the reverse needs.

        Args:
            weights: Single precision, of the K samples.
            edges: Of the batch.
            features: Per source.
        """
        mixed = [_times(x, matrix) for x, matrix in zip(features, weights.mix_in, strict=True)]
        sums = self._summed(weights, edges, mixed)
        for target, source, matrix in _inherited(weights):
            for element, start, stop in edges.spans:
                _add_product(
                    sums[target][:, start:stop], features[source][:, start:stop], matrix[:, element]
                )
        return self._gated(mixed, sums)

    def backward(
        self,
        weights: LayerWeights,
        edges: Edges,
        passed: Passed,
        by_feature: Sequence[Tensor],
        by_edge: ByEdge,
    ) -> list[Tensor]:
        """Return derivatives of the energies by the features that entered.

        Args:
            weights: As before.
            edges: As before.
            passed: What ``forward`` returned; its sums are overwritten.
            by_feature: Derivatives by the features that left, per target.
            by_edge: Derivatives by what an edge is, added to.
        """
        by_mixed = [torch.zeros_like(x) for x in passed.mixed]
        self._convolved_back(weights, edges, passed, by_feature, by_mixed, by_edge)
        back = [
            _times(z, matrix.transpose(1, 2))
            for z, matrix in zip(by_mixed, weights.mix_in, strict=True)
        ]
        for target, source, matrix in _inherited(weights):
            for element, start, stop in edges.spans:
                _add_product(
                    back[source][:, start:stop],
                    passed.sums[target][:, start:stop],
                    matrix[:, element].transpose(1, 2),
                )
        return back

    def _summed(self, weights: LayerWeights, edges: Edges, mixed: Sequence[Tensor]) -> list[Tensor]:
        n_samples = len(weights.radial)
        messages = [
            _empty(n_samples, edges.n_atoms, size, n_slots * self._shape.n_features)
            for size, n_slots in zip(self._shape.targets, self._slots, strict=True)
        ]
        self._convolve(
            *map(_flat, mixed),
            weights.radial.numpy(),
            edges.angular,
            edges.first,
            edges.neighbor,
            edges.knot,
            edges.weight,
            *map(_flat, messages),
        )
        return [_times(m, matrix) for m, matrix in zip(messages, weights.mix_out, strict=True)]

    def _gated(self, mixed: list[Tensor], sums: list[Tensor]) -> tuple[list[Tensor], Passed]:
        sigmoid = sums[0].sigmoid()
        n = self._shape.n_features
        features = [_empty(*total.shape[:3], n) for total in sums]
        self._gate(*map(_flat, sums), _flat(sigmoid), *map(_flat, features))
        return features, Passed(mixed, sums, sigmoid)

    def _convolved_back(
        self,
        weights: LayerWeights,
        edges: Edges,
        passed: Passed,
        by_feature: Sequence[Tensor],
        by_mixed: Sequence[Tensor],
        by_edge: ByEdge,
    ) -> None:
        sums = [_flat(total) for total in passed.sums]
        self._gate_back(*sums, _flat(passed.sigmoid), *map(_flat, by_feature))
        by_message = [
            _times(y, matrix.transpose(1, 2))
            for y, matrix in zip(passed.sums, weights.mix_out, strict=True)
        ]
        self._convolve_back(
            *map(_flat, passed.mixed),
            weights.radial.numpy(),
            edges.angular,
            edges.first,
            edges.neighbor,
            edges.knot,
            edges.weight,
            edges.slope,
            *map(_flat, by_message),
            *map(_flat, by_mixed),
            *by_edge,
        )


class FirstLayer(FusedLayer):
    """The first layer: what enters is known for each element before any structure is."""

    _is_first = True

    def start(
        self, weights: LayerWeights, edges: Edges, embedding: Tensor
    ) -> tuple[list[Tensor], Passed]:
        """As ``forward``, from the scalars of each element, ``(K, n_elements, n_features)``."""
        mixed = [torch.bmm(embedding, weights.mix_in[0])[:, edges.species, None]]
        sums = self._summed(weights, edges, mixed)
        for target, _, matrix in _inherited(weights):
            own = torch.matmul(embedding[:, :, None], matrix)
            sums[target] += own[:, edges.species]
        return self._gated(mixed, sums)

    def finish(
        self,
        weights: LayerWeights,
        edges: Edges,
        passed: Passed,
        by_feature: Sequence[Tensor],
        by_edge: ByEdge,
    ) -> None:
        """As ``backward``, of which only the derivatives by edges are left."""
        self._convolved_back(weights, edges, passed, by_feature, [], by_edge)


def _inherited(weights: LayerWeights) -> list[tuple[int, int, Tensor]]:
    return [
        (target, source, matrix)
        for target, row in enumerate(weights.inherit)
        for source, matrix in enumerate(row)
        if matrix is not None
    ]


def _times(features: Tensor, matrix: Tensor) -> Tensor:
    """Multiply channels by a matrix per sample."""
    n_samples, n_atoms, size, _ = features.shape
    product = torch.bmm(features.view(n_samples, n_atoms * size, -1), matrix)
    return product.view(n_samples, n_atoms, size, -1)


def _add_product(into: Tensor, features: Tensor, matrix: Tensor) -> None:
    """Views, since a copy of ``into`` would be lost."""
    n_samples, n_atoms, size, _ = into.shape
    rows = (n_samples, n_atoms * size, -1)
    into.view(rows).baddbmm_(features.view(rows), matrix)


def _empty(*shape: int) -> Tensor:
    """The type is stated: another thread that builds a network changes torch's default."""
    return torch.empty(shape, dtype=torch.float32)


def _flat(block: Tensor) -> NDArray[np.float32]:
    """Memory of a block, ``(K, n_atoms, components * channels)``: kernels write to it."""
    array: NDArray[np.float32] = block.view(*block.shape[:2], -1).numpy()
    return array
