"""Which weights read which unit of the network: what Monte Carlo dropout has to switch off.

A unit is a channel that enters an interaction layer after the first (with all its 2 l + 1
components), a final scalar, or a hidden unit of a readout. Dropping it is the same as setting
to zero the rows of all weight matrices that read it (Gal and Ghahramani, ICML 2016, section
3.1), so a dropped network is a network with other parameters. Whole channels are dropped, for
all atoms alike: the network stays equivariant, and its forces stay a gradient.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from posterion.network.config import UnitKind
from posterion.network.interaction import Interaction
from posterion.network.model import StochasticNequIP

READOUTS = ("energy_readout", "noise_readout")

NEVER_DROPPED = 0
"""Number of the weights that read no unit: element embedding, radial networks, offsets."""


def input_units(network: StochasticNequIP, kind: UnitKind = "all") -> dict[str, Tensor]:
    """Number the units and say which weight reads which.

    Args:
        network: The network; its weights do not matter.
        kind: ``all`` units, those a ``readout`` reads (final scalars and hidden units), or the
            ``hidden`` units of readouts.

    Returns:
        For every named weight the unit that each element reads, int64, its shape:
        `NEVER_DROPPED`, or a number from 1.
    """
    units = {
        name: torch.full(weight.shape, NEVER_DROPPED) for name, weight in network.named_parameters()
    }
    n_units = _number_channels(network, units) if kind == "all" else 0
    if kind != "hidden":
        for readout in READOUTS:
            # Both readouts see the same scalars, so a dropped one is gone for both.
            _number_rows(units[f"{readout}.network.layer0.weight"], first=1 + n_units)
        n_units += network.config.n_features
    for readout in READOUTS:
        weight = units[f"{readout}.network.layer1.weight"]
        _number_rows(weight, first=1 + n_units)
        n_units += len(weight)
    return units


def _number_channels(network: StochasticNequIP, units: dict[str, Tensor]) -> int:
    """Number the channels that enter the layers after the first; returns how many there are."""
    n_units = 0
    for index, layer in enumerate(network.layers):
        assert isinstance(layer, Interaction)
        if index == 0:
            continue
        for name, rows, block in _rows_of_layer(layer, f"layers.{index}"):
            first = 1 + n_units + _channels_before(layer, block)
            numbers = torch.arange(first, first + len(rows))
            units[name][rows.reshape(-1)] = numbers.repeat_interleave(rows[0].numel())
        n_units += sum(multiplicity for multiplicity, _ in layer.mix_in.irreps_in)
    return n_units


def _rows_of_layer(layer: Interaction, name: str) -> Iterator[tuple[str, Tensor, int]]:
    """Weights that read the layer's input: name, positions ``(n_channels, ...)``, and block."""
    for part in ("mix_in", "self_connection"):
        module = getattr(layer, part)
        positions = torch.arange(module.weight_numel)
        for path, _, view in module.weight_views(positions, yield_instruction=True):
            instruction = module.instructions[path]
            block = instruction.i_in if part == "mix_in" else instruction.i_in1
            yield f"{name}.{part}.weight", view, block


def _channels_before(layer: Interaction, block: int) -> int:
    return sum(multiplicity for multiplicity, _ in list(layer.mix_in.irreps_in)[:block])


def _number_rows(weight: Tensor, *, first: int) -> None:
    weight[:] = torch.arange(first, first + len(weight))[:, None]
