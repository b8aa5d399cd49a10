"""The Triton kernels say what the float64 e3nn network says: on a GPU where there is one.

Elsewhere Triton's interpreter runs them, which shows that the text is right, and Triton compiles
them for a GPU, which shows that a compiler takes it. Neither shows how fast they are. Whether to
interpret has to be said before anything imports Triton: `.ci/test gpu` does.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch

from posterion.errors import ConfigurationError
from posterion.graph.batch import Graph, build_graph, collate
from posterion.inference.bank import BankEngine, ReferenceEngine
from posterion.inference.device_kernels.engine import TritonEngine
from posterion.inference.engine_choice import TOLERANCE, choose_engine
from posterion.network.config import NetworkConfig
from posterion.network.functional import NetworkFunction, NetworkOutputs
from posterion.structures.structure import Structure
from tests.support.banks import NETWORK, REFERENCE, random_bank, thermal_ethanol
from tests.support.engines import OF_FORCE_RMS, assert_outputs_agree, noisy_samples

pytestmark = [
    pytest.mark.gpu,
    # Of version 3.9: that 3.10 will not fuse products and sums of itself.
    pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION"),
]

SAME = 1e-5
"""Of forces and energies, eV/Angstrom and eV: other sums in single precision."""
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

NETWORKS: dict[str, dict[str, object]] = {
    "channels that are no power of two": {"l_max": 2, "n_layers": 2, "n_features": 6},
    "both parities": {"l_max": 1, "n_layers": 3, "parity": "full"},
    "evidential, one layer": {"l_max": 1, "n_layers": 1, "noise_readout": "evidential"},
}


def network(name: str) -> NetworkConfig:
    size: dict[str, object] = {"elements": (1, 6, 8), "cutoff": 4.0, "n_features": 4}
    return NetworkConfig.model_validate(size | NETWORKS[name])


@lru_cache(maxsize=len(NETWORKS))
def engine(name: str) -> TritonEngine:
    config = network(name)
    return TritonEngine(config, REFERENCE, noisy_samples(config, n_samples=2), device=DEVICE)


def reference(name: str) -> ReferenceEngine:
    config = network(name)
    function = NetworkFunction(config, REFERENCE, dtype=torch.float64, device="cpu")
    return ReferenceEngine(function, noisy_samples(config, n_samples=2))


def alone() -> Structure:
    return Structure(atomic_numbers=np.array([8]), positions=np.zeros((1, 3)))


def mixture() -> list[Graph]:
    """A molecule, an atom alone and a cell smaller than the cutoff, with rows of many edges."""
    crystal = Structure(
        atomic_numbers=np.array([8, 6]),
        positions=np.array([[0.1, 0.0, 0.0], [1.5, 1.6, 1.4]]),
        cell=np.array([[3.1, 0.0, 0.0], [0.4, 3.0, 0.0], [0.0, 0.3, 3.2]]),
        pbc=(True, True, True),
    )
    return [build_graph(one, 4.0) for one in (*thermal_ethanol(1), alone(), crystal)]


def evaluated(
    one: BankEngine, graphs: Sequence[Graph], *, n_samples: int | None = None
) -> NetworkOutputs:
    batch = collate(graphs, dtype=one.dtype, device=one.device)
    outputs = one.evaluate(batch, n_samples=n_samples, stress=True)
    fields = outputs._asdict().items()
    return outputs._replace(**{name: field.cpu() for name, field in fields if field is not None})


@pytest.mark.parametrize("name", NETWORKS)
def test_every_output_is_that_of_the_reference(name: str) -> None:
    found, expected = evaluated(engine(name), mixture()), evaluated(reference(name), mixture())
    assert_outputs_agree(found, expected)


def test_an_answer_depends_on_nothing_beside_it() -> None:
    """Not on the structures of the batch, on samples evaluated with it, or on the call."""
    fast = engine("both parities")
    together = evaluated(fast, mixture())
    again = evaluated(fast, mixture())
    assert torch.equal(again.latent, together.latent)
    torch.testing.assert_close(again.forces, together.forces, atol=1e-12, rtol=0.0)
    first = evaluated(fast, mixture()[:1], n_samples=1)
    n_atoms = mixture()[0].n_atoms
    torch.testing.assert_close(first.forces[0], together.forces[0, :n_atoms], atol=SAME, rtol=0.0)
    torch.testing.assert_close(first.energy[0, 0], together.energy[0, 0], atol=SAME, rtol=0.0)
    config = network("both parities")
    small = TritonEngine(
        config, REFERENCE, noisy_samples(config, n_samples=2), device=DEVICE, memory_bytes=1
    )
    parts = evaluated(small, mixture())
    torch.testing.assert_close(parts.forces, together.forces, atol=SAME, rtol=0.0)


def test_an_atom_without_neighbours_feels_nothing() -> None:
    found = evaluated(engine("evidential, one layer"), [build_graph(alone(), 4.0)])
    expected = evaluated(reference("evidential, one layer"), [build_graph(alone(), 4.0)])
    assert not found.forces.any()
    torch.testing.assert_close(found.energy, expected.energy, atol=SAME, rtol=0.0)


def test_it_is_taken_where_it_is_asked_for_and_agrees() -> None:
    bank = random_bank(n_samples=1)
    chosen = choose_engine(NETWORK, REFERENCE, bank.parameters, device=DEVICE, setting="triton")
    assert chosen.engine.name == "triton"
    assert 0.0 < chosen.deviation < OF_FORCE_RMS < TOLERANCE


def test_a_cpu_is_refused_without_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    bank = random_bank(n_samples=1)
    with pytest.raises(ConfigurationError, match="needs a CUDA device, got cpu"):
        TritonEngine(NETWORK, REFERENCE, bank.parameters, device="cpu")


def test_the_kernels_compile_for_a_gpu() -> None:
    """In a process of its own, since the interpreter replaces the compiler for good."""
    script = Path(__file__).with_name("compile_kernels.py")
    done = subprocess.run(
        [sys.executable, str(script)],
        env={name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["convolve", "convolve_features_back", "convolve_edges_back"]
