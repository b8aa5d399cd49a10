"""The benchmark of the engine runs without data, and counts what it says."""

import pytest
import torch

from benchmarks.bank_engine import interleaved, measured, quartiles
from benchmarks.engine_cases import Case, prepare, useful_flops
from posterion.network.freezing import freeze

TINY = Case(
    name="tiny", molecule="ethanol", n_structures=2, n_samples=2, size={"n_features": 4, "l_max": 1}
)


def test_contenders_take_turns_on_the_same_batch() -> None:
    document = measured(TINY, None, compiled=False, n_rounds=2)
    assert document["n_rounds"] == 2
    assert (document["n_atoms"], document["n_samples"]) == (18, 2)
    ratios = document["ratios"]
    assert isinstance(ratios, dict)
    assert ratios.keys() == {"fused / one", "fused / loop", "fused / vectorized"}
    assert document["milliseconds"].keys() == {"one", "loop", "vectorized", "fused"}  # type: ignore[union-attr]


def test_rounds_end_when_time_is_up() -> None:
    times = interleaved({"a": lambda: None, "b": lambda: None}, n_rounds=1000, seconds=0.0)
    assert [len(each) for each in times.values()] == [1, 1]


def test_operations_grow_with_edges_and_atoms() -> None:
    prepared = prepare(TINY, None)
    frozen = freeze(prepared.config, prepared.parameters[:1])
    edges, both = (useful_flops(frozen, n_atoms=n_atoms, n_edges=100) for n_atoms in (0, 10))
    assert edges == 100 * useful_flops(frozen, n_atoms=0, n_edges=1)
    assert both > edges > 0.0


def test_quartiles_are_in_the_order_that_is_written() -> None:
    assert quartiles(torch.arange(5.0).numpy()) == pytest.approx([2.0, 1.0, 3.0])
