"""Small networks with random parameters, and what they say of structures."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from posterion.graph.batch import build_graph, collate
from posterion.network.config import EnergyReference, NetworkConfig, NoiseKind
from posterion.network.functional import NetworkFunction, NetworkOutputs
from posterion.structures.structure import Structure
from tests.support.tolerances import ROUNDING

CUTOFF = 3.2
REFERENCE = EnergyReference(
    shifts={1: -13.6, 8: -2041.0}, scale=1.7, energy_std_per_sqrt_atom=0.004
)
SPREAD = 0.3

Parity = Literal["natural", "full"]


def network_config(
    l_max: int = 1, parity: Parity = "natural", noise: NoiseKind = "gaussian"
) -> NetworkConfig:
    """Four channels for hydrogen and oxygen, in two layers.

    With full parity four: pseudovectors first arise in the second, pseudoscalars in the third.
    """
    return NetworkConfig(
        elements=(1, 8),
        cutoff=CUTOFF,
        n_layers=2 if parity == "natural" else 4,
        n_features=4,
        l_max=l_max,
        parity=parity,
        n_radial=4,
        radial_hidden=8,
        readout_hidden=4,
        average_neighbors=10.0,
        noise_scale=0.2,
        noise_readout=noise,
    )


@lru_cache(maxsize=16)
def network_function(
    l_max: int = 1,
    parity: Parity = "natural",
    dtype: torch.dtype = torch.float64,
    noise: NoiseKind = "gaussian",
) -> NetworkFunction:
    """The function, on the CPU; built once per session, for it holds no weights."""
    config = network_config(l_max, parity, noise)
    return NetworkFunction(config, REFERENCE, dtype=dtype, device="cpu")


@lru_cache(maxsize=16)
def start(function: NetworkFunction) -> Tensor:
    """Where training would start, ``(n_parameters,)``; drawn once, for it builds a network."""
    return function.initial_parameters(torch.Generator().manual_seed(0))


def random_parameters(function: NetworkFunction, n_samples: int, *, seed: int = 0) -> Tensor:
    """A start with noise on every weight, so that no head is zero: ``(n_samples, n_params)``."""
    generator = torch.Generator().manual_seed(seed)
    shape = (n_samples, function.n_parameters)
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    return (start(function) + SPREAD * noise).to(function.dtype)


def evaluate(
    function: NetworkFunction,
    structures: Sequence[Structure],
    parameters: Tensor,
    *,
    stress: bool = False,
) -> NetworkOutputs:
    """Evaluate structures together, as one batch."""
    graphs = [build_graph(structure, function.config.cutoff) for structure in structures]
    batch = collate(graphs, dtype=function.dtype, device=function.device)
    return function.evaluate(parameters, batch, stress=stress)


def assert_near(
    actual: Tensor | None, expected: Tensor | None, tolerance: float = ROUNDING
) -> None:
    """Two tensors agree to an absolute tolerance, NaN where NaN."""
    assert actual is not None
    assert expected is not None
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=tolerance, equal_nan=True)


def assert_same_outputs(
    actual: NetworkOutputs, expected: NetworkOutputs, tolerance: float = ROUNDING
) -> None:
    """Everything a network says agrees to an absolute tolerance."""
    for value, other in zip(actual, expected, strict=True):
        if value is None and other is None:
            continue
        assert_near(value, other, tolerance)
