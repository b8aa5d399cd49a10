"""One layer of all samples on a device: the generated kernels between torch's own operations.

Features of K samples are kept per block, ``(K, n_atoms, 2 l + 1, n_features)``. Torch finds the
reverse of all but the convolution.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from posterion.inference.coupling import AngularColumns, slots_of
from posterion.inference.device_kernels.convolution import (
    edge_back_source,
    feature_back_source,
    forward_source,
)
from posterion.inference.device_kernels.edges import DeviceEdges
from posterion.inference.device_kernels.kernel import EDGES_PER_STEP, Kernel
from posterion.network.frozen import LayerShape, LayerWeights


class EdgeInputs(NamedTuple):
    """What the energies are differentiated by; the values do not matter.

    Attributes:
        harmonic: Shape ``(K, n_edges, n_harmonics)``.
        distance: Shape ``(K, n_edges)``.
    """

    harmonic: Tensor
    distance: Tensor


class DeviceLayer:
    """A layer of K samples."""

    def __init__(self, shape: LayerShape, angular: AngularColumns, *, n_harmonics: int) -> None:
        """Write the kernels.

        Args:
            shape: Of the layer.
            angular: Takes up the combinations of harmonics that it needs.
            n_harmonics: Of every edge.
        """
        self._shape = shape
        self._slots = slots_of(shape)
        n = shape.n_features
        self.convolve = Kernel(forward_source(shape, angular), n_features=n)
        self.features_back = Kernel(feature_back_source(shape, angular), n_features=n)
        self.edges_back = Kernel(
            edge_back_source(shape, angular, n_harmonics=n_harmonics), n_features=n
        )

    @property
    def values_per_atom(self) -> int:
        """Numbers per atom and sample that a forward pass and its reverse keep, about."""
        return self._shape.n_features * sum(
            size * (2 * n_slots + 8)
            for size, n_slots in zip(self._shape.targets, self._slots, strict=True)
        )

    def empty_sums(self, like: Tensor) -> list[Tensor]:
        """Where the kernel writes what arrives at each atom, per target."""
        return [
            like.new_empty((*like.shape[:2], size, n_slots * self._shape.n_features))
            for size, n_slots in zip(self._shape.targets, self._slots, strict=True)
        ]

    def __call__(
        self,
        weights: LayerWeights,
        edges: DeviceEdges,
        inputs: EdgeInputs,
        features: Sequence[Tensor],
    ) -> list[Tensor]:
        """Return the features that leave, differentiable.

        Args:
            weights: Single precision, of the K samples.
            edges: Of the batch.
            inputs: Of all layers.
            features: Per source.
        """
        mixed = [_times(x, matrix) for x, matrix in zip(features, weights.mix_in, strict=True)]
        messages = _CONVOLVE(self, weights.radial, edges, *inputs, *mixed)
        sums = [_times(m, matrix) for m, matrix in zip(messages, weights.mix_out, strict=True)]
        for target, row in enumerate(weights.inherit):
            for x, matrix in zip(features, row, strict=True):
                if matrix is not None:
                    sums[target] = sums[target] + _times_by_element(x, matrix, edges.one_hot)
        return self._gated(sums)

    def _gated(self, sums: Sequence[Tensor]) -> list[Tensor]:
        even, odd, gate = self._shape.scales
        own, *gates = torch.split(sums[0], self._shape.n_features, dim=3)
        rest = iter(gates)
        functions: dict[str, Callable[[Tensor], Tensor]] = {
            "even": lambda _: even * torch.nn.functional.silu(own),
            "odd": lambda total: odd * total.tanh(),
            "gated": lambda total: gate * torch.nn.functional.silu(next(rest)) * total,
        }
        kinds = zip(self._shape.kinds, sums, strict=True)
        return [functions[kind](total) for kind, total in kinds]


class _Convolution(torch.autograd.Function):
    """The kernels, as one operation of torch."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch declares no type for it
        layer: DeviceLayer,
        radial: Tensor,
        edges: DeviceEdges,
        harmonic: Tensor,
        distance: Tensor,
        *mixed: Tensor,
    ) -> tuple[Tensor, ...]:
        sums = layer.empty_sums(mixed[0])
        layer.convolve(
            (edges.n_atoms, len(radial)),
            *_sizes(radial, edges),
            *(x.contiguous() for x in mixed),
            *(radial, edges.angular, edges.first, edges.neighbor, edges.knot, edges.weight),
            *sums,
        )
        ctx.layer, ctx.radial, ctx.edges = layer, radial, edges
        ctx.save_for_backward(harmonic, distance, *mixed)
        return tuple(sums)

    @staticmethod
    def backward(ctx: Any, *by_sum: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        layer, radial, edges = ctx.layer, ctx.radial, ctx.edges
        harmonic, distance, *mixed = ctx.saved_tensors
        sums = [one.contiguous() for one in by_sum]
        by_harmonic, by_distance = torch.zeros_like(harmonic), torch.empty_like(distance)
        n_atoms, n_rows, n_columns = _sizes(radial, edges)
        layer.edges_back(
            (-(-edges.n_edges // EDGES_PER_STEP), len(radial)),
            *(n_atoms, edges.n_edges, n_rows, n_columns),
            *(x.contiguous() for x in mixed),
            *(radial, edges.angular, edges.centre, edges.neighbor, edges.knot),
            *(edges.weight, edges.slope, *sums, by_harmonic, by_distance),
        )
        by_mixed: list[Tensor | None] = [None] * len(mixed)
        if any(ctx.needs_input_grad[5:]):
            written = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in mixed]
            layer.features_back(
                (n_atoms, len(radial)),
                *(n_atoms, n_rows, n_columns, *sums, radial, edges.angular),
                *(edges.first_arriving, edges.arriving, edges.centre, edges.knot, edges.weight),
                *written,
            )
            by_mixed = list(written)
        return (None, None, None, by_harmonic, by_distance, *by_mixed)


_CONVOLVE: Final[Callable[..., tuple[Tensor, ...]]] = _Convolution.apply


def _sizes(radial: Tensor, edges: DeviceEdges) -> tuple[int, int, int]:
    return edges.n_atoms, radial.shape[1], edges.angular.shape[1]


def _times(features: Tensor, matrix: Tensor) -> Tensor:
    """Multiply channels by a matrix per sample."""
    n_samples, n_atoms, size, n = features.shape
    product = torch.bmm(features.reshape(n_samples, n_atoms * size, n), matrix)
    return product.view(n_samples, n_atoms, size, matrix.shape[2])


def _times_by_element(features: Tensor, matrix: Tensor, one_hot: Tensor) -> Tensor:
    """Multiply channels by the matrix of the atom's element."""
    spread = features[:, :, :, None] * one_hot[None, :, None, :, None]
    return _times(spread.flatten(3), matrix.flatten(1, 2))
