"""What is read off a network is the network."""

import torch
from torch import Tensor

from posterion.network.config import NetworkConfig
from posterion.network.freezing import freeze
from posterion.network.frozen import N_INTERVALS
from posterion.network.functional import ParameterLayout
from posterion.network.harmonics import Polynomial, harmonic_polynomials
from posterion.network.interaction import Interaction
from posterion.network.model import build_network
from posterion.network.spline import DEGREE, MARGIN, spline_coefficients, weight_polynomials

CONFIG = NetworkConfig(elements=(1, 8), cutoff=4.0, n_layers=2, n_features=4, l_max=2)
EXACT = 1e-12


def spline(table: Tensor, place: Tensor) -> Tensor:
    """Value of a table at places counted in intervals."""
    first = place.floor().long().clamp(max=len(table) - DEGREE - 1)
    powers = (place - first)[:, None] ** torch.arange(DEGREE + 1)
    weights = powers @ torch.from_numpy(weight_polynomials()).T
    rows = torch.stack([table[first + row] for row in range(DEGREE + 1)], dim=1)
    return (weights[:, :, None] * rows).sum(dim=1)


def test_a_spline_reproduces_polynomials_of_its_degree() -> None:
    knots = torch.arange(-MARGIN, 20 + MARGIN + 1, dtype=torch.float64) / 20
    values = torch.stack([knots**3 - knots, torch.exp(-3.0 * knots)], dim=1)
    table = spline_coefficients(values)
    place = torch.linspace(0.0, 20.0, 57, dtype=torch.float64)
    x = place / 20
    expected = torch.stack([x**3 - x, torch.exp(-3.0 * x)], dim=1)
    found = spline(table, place)
    # The ends let go of the table within the margin: some 1e-6 of a value is left of them.
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=0.0)


def test_weights_sum_to_one_everywhere() -> None:
    summed = weight_polynomials().sum(axis=0)
    assert abs(summed[0] - 1.0) < EXACT
    assert abs(summed[1:]).max() < EXACT


def test_radial_tables_are_the_radial_networks() -> None:
    network = build_network(CONFIG, torch.Generator().manual_seed(4))
    flat = ParameterLayout(network).flatten(dict(network.named_parameters()))
    frozen = freeze(CONFIG, flat[None])
    distance = torch.linspace(0.7, CONFIG.cutoff, 301, dtype=torch.float64)
    for layer, weights, shape in zip(network.layers, frozen.layers, frozen.shapes, strict=True):
        assert isinstance(layer, Interaction)
        expected = layer.convolution.radial_network(network.basis(distance)).detach()
        found = spline(weights.radial[0], distance * (N_INTERVALS / CONFIG.cutoff))
        assert found.shape == (301, len(shape.paths) * CONFIG.n_features)
        # Terms are scaled to a largest of 1; the factor is in the table.
        factor = (found * expected).sum(dim=0) / expected.square().sum(dim=0)
        deviation = (found - factor * expected).abs().max() / found.abs().max()
        assert float(deviation) < 1e-6


def value(polynomial: Polynomial, places: Tensor) -> Tensor:
    total = torch.zeros(len(places), dtype=torch.float64)
    for powers, factor in polynomial:
        total += factor * places.pow(torch.tensor(powers)).prod(dim=1)
    return total


def test_harmonics_are_polynomials_on_the_sphere() -> None:
    config = CONFIG.model_copy(update={"l_max": 3})
    network = build_network(config, torch.Generator().manual_seed(0))
    places = torch.randn((50, 3), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    places = places / places.norm(dim=1, keepdim=True)
    polynomials = harmonic_polynomials(network.harmonics, config.l_max)
    found = torch.stack([value(one, places) for one in polynomials], dim=1)
    torch.testing.assert_close(found, network.harmonics(places), atol=1e-10, rtol=0.0)


def test_paths_are_those_that_parity_allows() -> None:
    network = build_network(CONFIG, torch.Generator().manual_seed(0))
    flat = ParameterLayout(network).flatten(dict(network.named_parameters()))
    first, last = freeze(CONFIG, torch.stack([flat, flat])).shapes
    assert (first.sources, first.targets, len(first.paths)) == ((1,), (1, 3, 5), 3)
    assert (last.sources, last.targets, len(last.paths)) == ((1, 3, 5), (1,), 3)
    assert first.kinds == ("even", "gated", "gated")
    for path in (*first.paths, *last.paths):
        assert max(abs(term.value) for term in path.terms) == 1.0
