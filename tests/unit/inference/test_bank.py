"""Engines agree with each other, however the samples and structures are grouped."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from posterion.graph.batch import Graph, build_graph, collate
from posterion.inference.bank import BankEngine, ReferenceEngine, VectorizedEngine
from posterion.inference.loading import SampleBank
from posterion.network.functional import NetworkOutputs
from posterion.structures.structure import Structure
from tests.support.banks import NETWORK, network_function, thermal_ethanol

# Single against double precision: forces near 1 eV/Angstrom with 24 bits, after some
# thousand additions. Measured 1e-6.
FLOAT32_FORCES = 1e-5
FLOAT32_ENERGY = 1e-5
EXACT = 1e-12


@pytest.fixture(scope="module")
def reference(bank: SampleBank) -> ReferenceEngine:
    return ReferenceEngine(network_function(torch.float64), bank.parameters)


@pytest.fixture(scope="module")
def vectorized(bank: SampleBank) -> VectorizedEngine:
    return VectorizedEngine(network_function(torch.float32), bank.parameters)


@pytest.fixture(scope="module")
def graphs() -> list[Graph]:
    """Molecules, a periodic cell and an atom without edges."""
    crystal = Structure(
        atomic_numbers=np.array([6, 8]),
        positions=np.array([[0.1, 0.0, 0.0], [1.5, 1.6, 1.4]]),
        cell=np.array([[3.1, 0.0, 0.0], [0.4, 3.0, 0.0], [0.0, 0.3, 3.2]]),
        pbc=(True, True, True),
    )
    atom = Structure(atomic_numbers=np.array([1]), positions=np.zeros((1, 3)))
    return [build_graph(s, NETWORK.cutoff) for s in (*thermal_ethanol(3), crystal, atom)]


def evaluated(
    engine: BankEngine, graphs: Sequence[Graph], *, n_samples: int | None = None
) -> NetworkOutputs:
    batch = collate(graphs, dtype=engine.dtype, device=engine.device)
    return engine.evaluate(batch, n_samples=n_samples, stress=True)


def test_the_fast_engine_agrees_with_the_reference(
    reference: ReferenceEngine, vectorized: VectorizedEngine, graphs: list[Graph]
) -> None:
    slow, fast = evaluated(reference, graphs), evaluated(vectorized, graphs)
    assert slow.forces.dtype == torch.float64
    torch.testing.assert_close(fast.forces.double(), slow.forces, atol=FLOAT32_FORCES, rtol=0)
    torch.testing.assert_close(fast.energy, slow.energy, atol=FLOAT32_ENERGY, rtol=0)
    torch.testing.assert_close(fast.force_std.double(), slow.force_std, atol=FLOAT32_FORCES, rtol=0)
    assert fast.stress is not None
    assert slow.stress is not None
    torch.testing.assert_close(
        fast.stress[:, 3].double(), slow.stress[:, 3], atol=FLOAT32_FORCES, rtol=0
    )


def test_splitting_the_samples_changes_nothing(
    bank: SampleBank, vectorized: VectorizedEngine, graphs: list[Graph]
) -> None:
    frugal = VectorizedEngine(network_function(torch.float32), bank.parameters, memory_bytes=1)
    whole, parts = evaluated(vectorized, graphs), evaluated(frugal, graphs)
    torch.testing.assert_close(parts.forces, whole.forces, atol=FLOAT32_FORCES, rtol=0)
    torch.testing.assert_close(parts.energy, whole.energy, atol=FLOAT32_ENERGY, rtol=0)
    assert parts.latent.shape == whole.latent.shape


@pytest.mark.parametrize("n_samples", [1, 3])
def test_fewer_samples_are_the_first_ones(
    reference: ReferenceEngine, graphs: list[Graph], n_samples: int
) -> None:
    some, every = evaluated(reference, graphs, n_samples=n_samples), evaluated(reference, graphs)
    torch.testing.assert_close(some.forces, every.forces[:n_samples], atol=EXACT, rtol=0)
    torch.testing.assert_close(some.energy, every.energy[:n_samples], atol=0, rtol=EXACT)


@pytest.mark.parametrize("n_samples", [0, 5, -1])
def test_a_number_of_samples_not_held_is_refused(
    vectorized: VectorizedEngine, graphs: list[Graph], n_samples: int
) -> None:
    with pytest.raises(ValueError, match=f"between 1 and 4, got {n_samples}"):
        evaluated(vectorized, graphs, n_samples=n_samples)


def test_an_engine_refuses_another_precision_or_network(bank: SampleBank) -> None:
    with pytest.raises(ValueError, match=r"of torch.float64, got torch.float32"):
        ReferenceEngine(network_function(torch.float32), bank.parameters)
    with pytest.raises(ValueError, match="parameters must have shape"):
        VectorizedEngine(network_function(torch.float32), bank.parameters[:, 1:])
