"""The generated kernels say what the float64 e3nn network says, sample by sample."""

import hashlib
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from posterion.graph.batch import Graph, build_graph, collate
from posterion.inference.bank import BankEngine, ReferenceEngine
from posterion.inference.fused import engine as engine_module
from posterion.inference.fused.engine import FusedEngine
from posterion.inference.fused.kernel import CACHE_VARIABLE
from posterion.network.config import NetworkConfig
from posterion.network.functional import NetworkFunction, NetworkOutputs
from posterion.structures.structure import Structure
from tests.support.banks import REFERENCE, thermal_ethanol
from tests.support.engines import OF_FORCE_RMS, assert_outputs_agree, noisy_samples

N_SAMPLES = 3
BYTES_OF_WORK = 20_000
"""Less than a pass over `graphs` works on (57 kB), more than it leaves otherwise (1 kB)."""

NETWORKS: dict[str, dict[str, object]] = {
    "scalars": {"l_max": 0, "n_layers": 2},
    "one layer": {"l_max": 1, "n_layers": 1},
    "l = 1": {"l_max": 1, "n_layers": 3},
    "l = 2": {"l_max": 2, "n_layers": 2},
    "both parities": {"l_max": 1, "n_layers": 2, "parity": "full"},
    "evidential": {"l_max": 0, "n_layers": 1, "noise_readout": "evidential"},
}


def network(name: str) -> NetworkConfig:
    size: dict[str, object] = {"elements": (1, 6, 8), "cutoff": 4.0, "n_features": 8}
    return NetworkConfig.model_validate(size | NETWORKS[name])


@lru_cache(maxsize=len(NETWORKS))
def engines(name: str) -> tuple[FusedEngine, ReferenceEngine]:
    config = network(name)
    function = NetworkFunction(config, REFERENCE, dtype=torch.float64, device="cpu")
    rows = noisy_samples(config, n_samples=N_SAMPLES)
    return FusedEngine(config, REFERENCE, rows), ReferenceEngine(function, rows)


def crystal() -> Structure:
    """A triclinic cell smaller than the cutoff: atoms see their own images."""
    return Structure(
        atomic_numbers=np.array([6, 8]),
        positions=np.array([[0.1, 0.0, 0.0], [1.5, 1.6, 1.4]]),
        cell=np.array([[3.1, 0.0, 0.0], [0.4, 3.0, 0.0], [0.0, 0.3, 3.2]]),
        pbc=(True, True, True),
    )


def graphs(cutoff: float = 4.0) -> list[Graph]:
    """Molecules, a crystal, and an atom alone between them."""
    alone = Structure(atomic_numbers=np.array([8]), positions=np.zeros((1, 3)))
    first, *others = thermal_ethanol(3)
    return [build_graph(one, cutoff) for one in (first, crystal(), alone, *others)]


def evaluated(
    engine: BankEngine, several: Sequence[Graph], *, n_samples: int | None = None
) -> NetworkOutputs:
    batch = collate(several, dtype=engine.dtype, device=engine.device)
    return engine.evaluate(batch, n_samples=n_samples, stress=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_output_is_that_of_the_reference(name: str) -> None:
    fused, reference = engines(name)
    found, expected = evaluated(fused, graphs()), evaluated(reference, graphs())
    assert_outputs_agree(found, expected)
    assert (found.force_epistemic_std is None) is (name != "evidential")


def test_samples_are_not_mixed_up() -> None:
    """The spread of random networks is large: one sample's forces are no other's."""
    fused, _ = engines("l = 1")
    every, some = evaluated(fused, graphs()), evaluated(fused, graphs(), n_samples=2)
    assert float((every.forces[0] - every.forces[1]).abs().max()) > 1e2 * OF_FORCE_RMS
    for name in ("energy", "forces", "force_std", "latent"):
        assert torch.equal(getattr(some, name), getattr(every, name)[:2]), name


def test_an_element_that_the_network_does_not_know_is_refused() -> None:
    fused, _ = engines("l = 1")
    sulfur = Structure(atomic_numbers=np.array([16]), positions=np.zeros((1, 3)))
    with pytest.raises(ValueError, match="does not know"):
        evaluated(fused, [build_graph(sulfur, 4.0)])


@pytest.mark.parametrize("n_samples", [0, N_SAMPLES + 1])
def test_a_number_of_samples_not_held_is_refused(n_samples: int) -> None:
    fused, _ = engines("l = 1")
    with pytest.raises(ValueError, match=f"between 1 and {N_SAMPLES}, got {n_samples}"):
        evaluated(fused, graphs(), n_samples=n_samples)


def test_threads_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    alone, _ = engines("l = 2")
    config = network("l = 2")
    rows = noisy_samples(config, n_samples=N_SAMPLES)
    several = FusedEngine(config, REFERENCE, rows, n_threads=2)
    monkeypatch.setattr(engine_module, "THREAD_BYTES", 1)
    found, expected = evaluated(several, graphs()), evaluated(alone, graphs())
    assert torch.equal(found.forces, expected.forces)
    assert torch.equal(found.energy, expected.energy)
    assert found.stress is not None
    assert expected.stress is not None
    torch.testing.assert_close(found.stress, expected.stress, atol=0.0, rtol=0.0, equal_nan=True)


def test_memory_that_was_used_before_does_not_change_the_answer() -> None:
    """A larger batch leaves its numbers where the next one works."""
    fused, _ = engines("l = 1")
    several = graphs()
    first = evaluated(fused, several[:1])
    evaluated(fused, several * 3)
    again = evaluated(fused, several[:1])
    assert torch.equal(again.forces, first.forces)
    assert torch.equal(again.energy, first.energy)


@pytest.mark.parametrize(("kept_bytes", "is_kept"), [(0, False), (2**40, True)])
def test_memory_is_kept_up_to_a_bound(
    kept_bytes: int, is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fused, _ = engines("l = 1")
    several = graphs()
    monkeypatch.setattr(engine_module, "KEPT_BYTES", 0)
    evaluated(fused, several)
    monkeypatch.setattr(engine_module, "KEPT_BYTES", kept_bytes)
    tracemalloc.start()
    try:
        evaluated(fused, several)
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (left > BYTES_OF_WORK) is is_kept


def test_callers_side_by_side_do_not_share_memory() -> None:
    fused, _ = engines("l = 1")
    several = [[graph] for graph in graphs()]
    expected = [evaluated(fused, one).forces for one in several]
    with ThreadPoolExecutor(len(several)) as pool:
        for _ in range(20):
            found = list(pool.map(lambda one: evaluated(fused, one).forces, several))
            assert all(map(torch.equal, found, expected))


def test_the_default_type_of_torch_does_not_matter() -> None:
    """A thread that loads another bank changes it for a moment: e3nn builds in the default."""
    fused, _ = engines("l = 1")
    before = evaluated(fused, graphs())
    torch.set_default_dtype(torch.float64)
    try:
        after = evaluated(fused, graphs())
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(after.forces, before.forces)
    assert after.latent.dtype == torch.float32


def test_neither_order_nor_company_changes_an_answer() -> None:
    fused, _ = engines("l = 2")
    several = graphs()
    together = evaluated(fused, several)
    ends = np.cumsum([graph.n_atoms for graph in several])
    for index, graph in enumerate(several):
        alone = evaluated(fused, [graph])
        forces = together.forces[:, ends[index] - graph.n_atoms : ends[index]]
        torch.testing.assert_close(alone.forces, forces, atol=1e-5, rtol=0.0)
        torch.testing.assert_close(
            alone.energy[:, 0], together.energy[:, index], atol=1e-5, rtol=0.0
        )


def test_forces_turn_with_the_molecule() -> None:
    fused, _ = engines("l = 2")
    (structure,) = thermal_ethanol(1)
    turn = Rotation.random(rng=np.random.default_rng(3)).as_matrix()
    turned = Structure(
        atomic_numbers=structure.atomic_numbers, positions=structure.positions @ turn.T
    )
    here, there = (evaluated(fused, [build_graph(one, 4.0)]) for one in (structure, turned))
    expected = here.forces.numpy() @ turn.T
    scale = float(np.sqrt((expected**2).mean()))
    np.testing.assert_allclose(there.forces.numpy(), expected, atol=OF_FORCE_RMS * scale)
    torch.testing.assert_close(there.energy, here.energy, atol=1e-5, rtol=0.0)


def test_forces_and_stress_vanish_in_sum() -> None:
    """No net force; and the stress is symmetric, so there is no torque."""
    fused, _ = engines("l = 2")
    found = evaluated(fused, [build_graph(crystal(), 4.0)])
    assert found.stress is not None
    torch.testing.assert_close(
        found.forces.sum(dim=1), torch.zeros((N_SAMPLES, 3), dtype=torch.float64), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(found.stress, found.stress.transpose(2, 3))


def test_a_small_batch_stays_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    config = network("l = 1")
    rows = noisy_samples(config, n_samples=N_SAMPLES)
    several = FusedEngine(config, REFERENCE, rows, n_threads=2)
    monkeypatch.setattr(ThreadPoolExecutor, "map", lambda *_: pytest.fail("spread over threads"))
    evaluated(several, graphs())


def answer_of_one_process() -> None:
    """Say in digits what a pass answers."""
    fused, _ = engines("evidential")
    found = evaluated(fused, graphs())
    for values in (found.forces, found.energy, found.latent, found.force_std):
        sys.stdout.write(hashlib.sha256(values.numpy().tobytes()).hexdigest())


def test_a_process_that_compiles_and_one_that_loads_answer_alike(tmp_path: Path) -> None:
    """Replicas of a service do either."""
    program = "from tests.unit.inference.test_fused import answer_of_one_process as a; a()"

    def said() -> str:
        return subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[3],
            env=os.environ | {CACHE_VARIABLE: str(tmp_path / "kernels")},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def kept() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")}

    compiled, machine_code = said(), kept()
    assert machine_code
    assert said() == compiled
    assert kept() == machine_code
