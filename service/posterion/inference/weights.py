"""Weights of a frozen network in single precision, all samples or some of them."""

from collections.abc import Callable

import torch
from torch import Tensor

from posterion.network.frozen import FrozenNetwork, LayerWeights, ReadoutWeights


def single_precision(frozen: FrozenNetwork, *, device: torch.device | None = None) -> FrozenNetwork:
    """The same network with contiguous float32 weights, on another device if one is given."""
    return _with(frozen, lambda weight: weight.to(device, torch.float32).contiguous())


def samples_of(frozen: FrozenNetwork, part: slice) -> FrozenNetwork:
    """The same network with some of its samples; nothing is copied."""
    return _with(frozen, lambda weight: weight[part])


def _with(frozen: FrozenNetwork, change: Callable[[Tensor], Tensor]) -> FrozenNetwork:
    def layer(one: LayerWeights) -> LayerWeights:
        return LayerWeights(
            mix_in=tuple(map(change, one.mix_in)),
            radial=change(one.radial),
            mix_out=tuple(map(change, one.mix_out)),
            inherit=tuple(
                tuple(None if matrix is None else change(matrix) for matrix in row)
                for row in one.inherit
            ),
        )

    return frozen._replace(
        layers=tuple(map(layer, frozen.layers)),
        embedding=change(frozen.embedding),
        energy=ReadoutWeights(*map(change, frozen.energy)),
        noise=ReadoutWeights(*map(change, frozen.noise)),
    )
