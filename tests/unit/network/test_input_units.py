"""A dropped unit is gone: weights that read it are switched off, and nothing else is."""

import pytest
import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from posterion.graph.batch import build_graph, collate
from posterion.network.config import UnitKind
from posterion.network.functional import ParameterLayout
from posterion.network.input_units import NEVER_DROPPED, input_units
from posterion.network.interaction import Interaction
from posterion.network.model import AtomicOutputs, StochasticNequIP, build_network
from tests.support.networks import assert_near, network_config, network_function, random_parameters
from tests.support.structures import slab

CONFIG = network_config(l_max=2)


@pytest.fixture(scope="module")
def network() -> StochasticNequIP:
    """With random weights, so that no readout is silent."""
    built = build_network(CONFIG, torch.Generator().manual_seed(0))
    (parameters,) = random_parameters(network_function(l_max=2), 1)
    built.load_state_dict(ParameterLayout(built).unflatten(parameters), strict=False)
    return built.requires_grad_(requires_grad=False)


def outputs(network: StochasticNequIP) -> AtomicOutputs:
    batch = collate([build_graph(slab(), CONFIG.cutoff)], dtype=torch.float64, device="cpu")
    centre, neighbor = batch.edge_index
    one_hot = network_function(l_max=2).one_hot(batch.atomic_numbers)
    answer: AtomicOutputs = network(batch.vectors, centre, neighbor, one_hot)
    return answer


def without(network: StochasticNequIP, unit: int) -> AtomicOutputs:
    """The same network with all weights that read a unit set to zero."""
    units = input_units(network)
    kept = {name: weight.clone() for name, weight in network.named_parameters()}
    switched_off = {name: weight * (units[name] != unit) for name, weight in kept.items()}
    network.load_state_dict(switched_off, strict=False)
    try:
        return outputs(network)
    finally:
        network.load_state_dict(kept, strict=False)


def with_silenced(network: StochasticNequIP, module: nn.Module, columns: slice) -> AtomicOutputs:
    """The same network, some columns of what enters a module set to zero on the way."""

    def silence(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        features = args[0].clone()
        features[:, columns] = 0.0
        return (features, *args[1:])

    handle = module.register_forward_pre_hook(silence)
    try:
        return outputs(network)
    finally:
        handle.remove()


def channels(irreps: Irreps) -> list[slice]:
    """Columns of every channel, all its 2 l + 1 components."""
    found, first = [], 0
    for multiplicity, irrep in irreps:
        for _ in range(multiplicity):
            found.append(slice(first, first + irrep.dim))
            first += irrep.dim
    return found


def test_dropped_channel_does_not_enter_its_layer(network: StochasticNequIP) -> None:
    layer = network.layers[1]
    assert isinstance(layer, Interaction)
    columns = channels(layer.mix_in.irreps_in)
    assert len(columns) == CONFIG.n_features * (CONFIG.l_max + 1)
    whole = outputs(network)
    for unit, channel in enumerate(columns, start=1):
        expected = with_silenced(network, layer, channel)
        found = without(network, unit)
        assert_near(found.energy, expected.energy)
        assert_near(found.noise, expected.noise)
        assert float((found.energy - whole.energy).abs().max()) > 1e-6


def test_dropped_scalar_reaches_neither_readout(network: StochasticNequIP) -> None:
    first = 1 + CONFIG.n_features * (CONFIG.l_max + 1)
    for index in range(CONFIG.n_features):
        found = without(network, first + index)
        column = slice(index, index + 1)
        expected = with_silenced(network, network.energy_readout, column).energy
        assert_near(found.energy, expected)
        assert_near(found.noise, with_silenced(network, network.noise_readout, column).noise)


def test_hidden_units_of_a_readout_add_up_to_it(network: StochasticNequIP) -> None:
    """The energy is linear in its last layer: what all drops take away is the whole."""
    first = 1 + CONFIG.n_features * (CONFIG.l_max + 2)
    whole = outputs(network).energy
    units = range(first, first + CONFIG.readout_hidden)
    taken = [whole - without(network, unit).energy for unit in units]
    assert_near(sum(taken, torch.zeros_like(whole)), whole)


@pytest.mark.parametrize(("kind", "left_out"), [("readout", 1), ("hidden", 2)])
def test_fewer_kinds_are_the_last_units_with_smaller_numbers(
    kind: UnitKind, left_out: int, network: StochasticNequIP
) -> None:
    """Left out are the channels of layers, then the scalars as well."""
    skipped = CONFIG.n_features * (CONFIG.l_max + 1) + (left_out - 1) * CONFIG.n_features
    few = input_units(network, kind)
    for name, numbers in input_units(network).items():
        expected = torch.where(numbers > skipped, numbers - skipped, NEVER_DROPPED)
        assert torch.equal(few[name], expected), name


def test_every_unit_is_read_and_the_rest_is_never_dropped(network: StochasticNequIP) -> None:
    units = input_units(network)
    numbers = torch.cat([part.reshape(-1) for part in units.values()])
    n_units = CONFIG.n_features * (CONFIG.l_max + 2) + 2 * CONFIG.readout_hidden
    assert set(numbers.tolist()) == {NEVER_DROPPED, *range(1, n_units + 1)}
    free = {name for name, part in units.items() if bool((part == NEVER_DROPPED).all())}
    assert "embedding.weight" in free
    assert "noise_readout.offset" in free
    assert {name for name in units if ".mix_out." in name or ".convolution." in name} <= free
