"""How a network is taken apart: see `posterion.network.frozen`.

The matrices are read off the modules by showing them unit vectors, so that no convention of
e3nn is written down a second time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from e3nn.nn import FullyConnectedNet
from e3nn.o3 import Irrep, Irreps
from torch import Tensor
from torch.nn.functional import silu

from posterion.network.config import NetworkConfig
from posterion.network.frozen import (
    N_INTERVALS,
    FrozenNetwork,
    LayerShape,
    LayerWeights,
    Path,
    ReadoutWeights,
    Term,
)
from posterion.network.functional import ParameterLayout
from posterion.network.harmonics import harmonic_polynomials
from posterion.network.interaction import Interaction
from posterion.network.model import StochasticNequIP, build_network
from posterion.network.spline import MARGIN, spline_coefficients

_NEGLIGIBLE: Final = 1e-9
_NEAR_ZERO: Final = 1e-6
_ONE: Final = torch.ones((), dtype=torch.float64)


def freeze(config: NetworkConfig, parameters: Tensor) -> FrozenNetwork:
    """Take the samples of a bank apart.

    Args:
        config: Their architecture.
        parameters: Shape ``(n_samples, n_parameters)``.

    Returns:
        Everything that evaluating them takes.
    """
    network = build_network(config, torch.Generator().manual_seed(0))
    network.requires_grad_(requires_grad=False)
    layout, named = ParameterLayout(network), dict(network.named_parameters())
    probed = [_Probed.of(layer, config.n_features) for layer in _interactions(network)]
    samples = []
    for sample in parameters.detach().to("cpu", torch.float64):
        for name, weight in layout.unflatten(sample).items():
            named[name].copy_(weight)
        samples.append(_one_sample(network, probed))
    layers, embeddings, energies, noises = zip(*samples, strict=True)
    return FrozenNetwork(
        harmonics=harmonic_polynomials(network.harmonics, config.l_max),
        shapes=tuple(one.shape for one in probed),
        layers=tuple(_stacked_layer(each) for each in zip(*layers, strict=True)),
        embedding=torch.stack(embeddings),
        energy=ReadoutWeights(*map(torch.stack, zip(*energies, strict=True))),
        noise=ReadoutWeights(*map(torch.stack, zip(*noises, strict=True))),
    )


def _interactions(network: StochasticNequIP) -> list[Interaction]:
    return [layer for layer in network.layers if isinstance(layer, Interaction)]


def _one_sample(
    network: StochasticNequIP, probed: Sequence["_Probed"]
) -> tuple[list[LayerWeights], Tensor, ReadoutWeights, ReadoutWeights]:
    cutoff = network.config.cutoff
    knots = torch.arange(-MARGIN, N_INTERVALS + MARGIN + 1, dtype=torch.float64)
    # The basis goes on smoothly below 0, where there are no atoms, but divides by 0 there.
    knots[MARGIN] = _NEAR_ZERO
    basis = network.basis(knots * (cutoff / N_INTERVALS))
    layers = [
        _layer_weights(layer, known, basis)
        for layer, known in zip(_interactions(network), probed, strict=True)
    ]
    elements = torch.eye(len(network.config.elements), dtype=torch.float64)
    noise = network.noise_readout
    energy = _readout(network.energy_readout.network, torch.zeros(1, dtype=torch.float64))
    return layers, network.embedding(elements), energy, _readout(noise.network, noise.offset)


class _Block(NamedTuple):
    """An irrep of a flat vector of e3nn, and its indices, ``(n_channels, 2 l + 1)``."""

    irrep: Irrep
    columns: Tensor


def _blocks(irreps: Irreps) -> list[_Block]:
    return [
        _Block(irrep, torch.arange(piece.start, piece.stop).view(mul, irrep.dim))
        for piece, (mul, irrep) in zip(irreps.slices(), irreps, strict=True)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Probed:
    """What a layer is, whatever its weights.

    Attributes:
        shape: For the engine.
        sources: Blocks of what enters.
        sums: Blocks of the sum of every path, in the order of the paths.
        targets: Blocks of what the gate is given.
        factors: What the terms of every path were divided by.
    """

    shape: LayerShape
    sources: list[_Block]
    sums: list[_Block]
    targets: list[_Block]
    factors: Tensor

    @classmethod
    def of(cls, layer: Interaction, n_features: int) -> "_Probed":
        """Show a layer unit vectors."""
        gate, product = layer.gate, layer.convolution.tensor_product
        sources, targets = _blocks(layer.mix_in.irreps_in), _targets(layer)
        into = _blocks(product.irreps_out)
        sums = [into[instruction.i_out] for instruction in product.instructions]
        paths, factors = _paths(layer, sources, sums, [block.irrep for block in targets])
        kinds = ["even" if irrep.p == 1 else "odd" for _, irrep in gate.irreps_scalars]
        kinds += ["gated"] * len(gate.irreps_gated)
        shape = LayerShape(
            n_features=n_features,
            sources=tuple(block.irrep.dim for block in sources),
            targets=tuple(block.irrep.dim for block in targets),
            kinds=tuple(kinds),
            paths=tuple(paths),
            scales=_gate_scales(layer, kinds),
        )
        return cls(shape=shape, sources=sources, sums=sums, targets=targets, factors=factors)


def _targets(layer: Interaction) -> list[_Block]:
    """Blocks of what the gate is given; the gates follow the first scalars."""
    gate = layer.gate
    scalars, gates, gated = gate.sc(torch.arange(gate.irreps_in.dim))
    own = [_Block(irrep, scalars[columns]) for irrep, columns in _blocks(gate.irreps_scalars)]
    if own[0].irrep.p != 1:
        raise ValueError(f"the first scalars must be even, got {gate.irreps_scalars}")
    own[0] = _Block(own[0].irrep, torch.cat([own[0].columns, gates[:, None]]))
    return own + [_Block(irrep, gated[columns]) for irrep, columns in _blocks(gate.irreps_gated)]


def _gate_scales(layer: Interaction, kinds: Sequence[str]) -> tuple[float, float, float]:
    answer = layer.gate(torch.ones(layer.gate.irreps_in.dim, dtype=torch.float64))
    told = {
        kind: float(answer[int(block.columns[0, 0])])
        for block, kind in zip(_blocks(layer.gate.irreps_out), kinds, strict=True)
    }
    even, odd = float(silu(_ONE)), float(torch.tanh(_ONE))
    return told["even"] / even, told.get("odd", odd) / odd, told.get("gated", even) / even


def _paths(
    layer: Interaction, sources: Sequence[_Block], sums: Sequence[_Block], targets: Sequence[Irrep]
) -> tuple[list[Path], Tensor]:
    """Every path of the convolution, and the factors that their terms were divided by."""
    product = layer.convolution.tensor_product
    harmonics = _blocks(product.irreps_in2)
    unit_in, unit_edge, unit_weight = (
        torch.eye(size, dtype=torch.float64)
        for size in (product.irreps_in1.dim, product.irreps_in2.dim, product.weight_numel)
    )
    used = [0] * len(targets)
    paths, factors = [], []
    for number, (instruction, into) in enumerate(zip(product.instructions, sums, strict=True)):
        features = unit_in[sources[instruction.i_in1].columns[0]]
        edge = harmonics[instruction.i_in2].columns[0]
        n_pairs = len(features) * len(edge)
        answer = product(
            features.repeat_interleave(len(edge), 0),
            unit_edge[edge].repeat(len(features), 1),
            unit_weight[number * len(into.columns)].expand(n_pairs, -1),
        )[:, into.columns[0]].view(len(features), len(edge), -1)
        factor = float(answer.abs().max())
        terms = tuple(
            Term(a, int(edge[b]), c, float(answer[a, b, c]) / factor)
            for a, b, c in (answer.abs() > _NEGLIGIBLE * factor).nonzero().tolist()
        )
        target = targets.index(into.irrep)
        paths.append(Path(source=instruction.i_in1, target=target, slot=used[target], terms=terms))
        factors.append(factor)
        used[target] += 1
    return paths, torch.tensor(factors, dtype=torch.float64)


def _layer_weights(layer: Interaction, known: _Probed, basis: Tensor) -> LayerWeights:
    unit_in, unit_sum = (
        torch.eye(mix.irreps_in.dim, dtype=torch.float64) for mix in (layer.mix_in, layer.mix_out)
    )
    mixed, summed = layer.mix_in(unit_in), layer.mix_out(unit_sum) * layer.normalization
    slots: list[list[Tensor]] = [[] for _ in known.targets]
    for path, block in zip(known.shape.paths, known.sums, strict=True):
        slots[path.target].append(block.columns[:, 0])
    scale = known.factors.repeat_interleave(known.shape.n_features)
    radial = layer.convolution.radial_network(basis) * scale
    return LayerWeights(
        mix_in=tuple(mixed[block.columns[:, 0]][:, block.columns[:, 0]] for block in known.sources),
        radial=spline_coefficients(radial),
        mix_out=tuple(
            summed[torch.cat(rows)][:, block.columns[:, 0]]
            for rows, block in zip(slots, known.targets, strict=True)
        ),
        inherit=_inherit(layer, known, unit_in),
    )


def _inherit(
    layer: Interaction, known: _Probed, unit_in: Tensor
) -> tuple[tuple[Tensor | None, ...], ...]:
    n_elements = layer.self_connection.irreps_in2.dim
    answers = torch.stack(
        [
            layer.self_connection(unit_in, element.expand(len(unit_in), -1))
            for element in torch.eye(n_elements, dtype=torch.float64)
        ]
    )
    return tuple(
        tuple(
            answers[:, source.columns[:, 0]][:, :, target.columns[:, 0]]
            if source.irrep == target.irrep
            else None
            for source in known.sources
        )
        for target in known.targets
    )


def _readout(network: FullyConnectedNet, offset: Tensor) -> ReadoutWeights:
    """Read off both layers; the factor of silu goes to the second."""
    hidden, out = network.layer0, network.layer1
    scale = float(hidden.act(_ONE)) / float(silu(_ONE))
    return ReadoutWeights(
        hidden=hidden.weight / (hidden.h_in * hidden.var_in) ** 0.5,
        out=out(torch.eye(len(out.weight), dtype=torch.float64)) * scale * hidden.var_out**0.5,
        offset=offset.clone(),
    )


def _stacked_layer(samples: Sequence[LayerWeights]) -> LayerWeights:
    def stack(parts: Sequence[Tensor | None]) -> Tensor | None:
        known = [part for part in parts if part is not None]
        return torch.stack(known) if known else None

    return LayerWeights(
        mix_in=tuple(map(torch.stack, zip(*(one.mix_in for one in samples), strict=True))),
        radial=torch.stack([one.radial for one in samples]),
        mix_out=tuple(map(torch.stack, zip(*(one.mix_out for one in samples), strict=True))),
        inherit=tuple(
            tuple(stack(parts) for parts in zip(*rows, strict=True))
            for rows in zip(*(one.inherit for one in samples), strict=True)
        ),
    )
