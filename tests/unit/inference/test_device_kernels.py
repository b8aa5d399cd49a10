"""What can be said of the GPU's engine where Triton is not installed; the rest is tests/gpu."""

import sys
from collections.abc import Mapping

import numpy as np
import pytest
import torch

from posterion.errors import ConfigurationError
from posterion.graph.batch import build_graph, collate
from posterion.inference import engine_choice
from posterion.inference.bank import BankEngine, VectorizedEngine
from posterion.inference.coupling import AngularColumns
from posterion.inference.device_kernels.edges import DeviceEdgeDescriber
from posterion.inference.engine_choice import ChosenEngine, choose_engine
from posterion.inference.fused.edges import EdgeDescriber
from posterion.inference.loading import SampleBank
from posterion.network.config import NetworkConfig
from posterion.network.freezing import freeze
from posterion.network.functional import NetworkFunction
from posterion.structures.structure import Structure
from tests.support.banks import NETWORK, NUMBERS, POSITIONS, REFERENCE, network_function


def test_without_triton_it_is_refused_with_what_to_install(
    bank: SampleBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'posterion\[gpu\]'"):
        choose_engine(NETWORK, REFERENCE, bank.parameters, setting="triton")


@pytest.mark.parametrize(
    ("device", "expected"), [("cpu", "fused vectorized"), ("meta", "vectorized")]
)
def test_nobody_gets_it_who_does_not_ask(
    device: str, expected: str, bank: SampleBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no candidate, on a CPU or on any other device."""

    class Seen(Exception):
        pass

    def first_that_agrees(candidates: Mapping[str, object], *given: object) -> ChosenEngine:
        raise Seen(" ".join(candidates))

    monkeypatch.setattr(engine_choice, "_first_that_agrees", first_that_agrees)
    with pytest.raises(Seen, match=f"^{expected}$"):
        choose_engine(NETWORK, REFERENCE, bank.parameters, device=device)


def test_an_engine_that_was_asked_for_and_deviates_is_refused(
    bank: SampleBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the samples in another order, which is what a wrong stride would look like."""

    def mixed_up(*given: object) -> BankEngine:
        return VectorizedEngine(network_function(torch.float32), bank.parameters.flip(0))

    monkeypatch.setattr(engine_choice, "_triton", mixed_up)
    with pytest.raises(ConfigurationError, match="failed its self-test on cpu: forces or stress"):
        choose_engine(NETWORK, REFERENCE, bank.parameters, setting="triton")


def test_edges_are_described_as_for_the_cpu() -> None:
    """By torch's operations as by a generated kernel, whose atoms are ordered by element."""
    config = NetworkConfig(elements=(1, 6, 8), cutoff=4.0, n_features=2, l_max=2, n_layers=1)
    function = NetworkFunction(config, REFERENCE, dtype=torch.float64, device="cpu")
    rows = function.initial_parameters(torch.Generator().manual_seed(0))[None]
    frozen, angular = freeze(config, rows), AngularColumns()
    for path in frozen.shapes[0].paths:
        angular.of(path)
    order = np.argsort(NUMBERS, kind="stable")
    molecule = Structure(atomic_numbers=NUMBERS[order], positions=POSITIONS[order])
    batch = collate([build_graph(molecule, 4.0)], dtype=torch.float32, device="cpu")
    here = DeviceEdgeDescriber(config, frozen.harmonics, angular, device=torch.device("cpu"))(batch)
    there = EdgeDescriber(config.elements, config.cutoff, frozen.harmonics, angular)(batch)
    for name in ("first", "neighbor", "knot"):
        np.testing.assert_array_equal(getattr(here, name).numpy(), getattr(there, name))
    for name in ("unit", "jacobian", "angular", "weight", "slope"):
        found, expected = getattr(here, name).numpy(), getattr(there, name)
        np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())
    arriving = here.neighbor[here.arriving]
    assert bool((arriving.diff() >= 0).all())
    np.testing.assert_array_equal(here.first_arriving.diff().numpy(), np.bincount(arriving))
