"""Memory that runs out is told from other failures, and costs no structure its answer."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from posterion.errors import PosterionError
from posterion.graph.batch import Graph
from posterion.inference.memory import is_out_of_memory, python_memory_error
from posterion.inference.predictor import Predictor
from posterion.serving.batcher import Batcher
from posterion.serving.formation import Cost
from posterion.serving.groups import Group, evaluate, kind_of
from posterion.serving.work import BatcherLimits, BatchRecord, Work
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.prediction import Prediction
from tests.support.banks import thermal_ethanol

MORE_THAN_ANY_MACHINE = 2**50
"""Bytes, of 2^47 that a process can address: torch's own allocator fails."""


def test_the_allocators_own_failure_is_a_memory_error() -> None:
    with pytest.raises(MemoryError, match="DefaultCPUAllocator"), python_memory_error():
        torch.empty(MORE_THAN_ANY_MACHINE, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CUDA error: out of memory", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("The size of tensor a (3) must match the size of tensor b (4)", False),
    ],
)
def test_failures_are_told_apart(text: str, expected: bool) -> None:
    assert is_out_of_memory(RuntimeError(text)) == expected
    kind = MemoryError if expected else RuntimeError
    with pytest.raises(kind, match=text[:10]), python_memory_error():
        raise RuntimeError(text)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_bank_that_runs_out_of_memory_splits_once_and_remembers(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    options = EvaluationOptions(precision="float64" if precision == "float64" else "float32")
    engine = predictor._engines[options.precision]  # noqa: SLF001 - the real one is made to fail
    unlimited = engine.evaluate

    def limited(batch: object, **arguments: object) -> object:
        if batch.n_structures > 3:  # type: ignore[attr-defined]
            torch.empty(MORE_THAN_ANY_MACHINE, dtype=torch.uint8)
        return unlimited(batch, **arguments)  # type: ignore[arg-type]

    graphs = [predictor.prepare(each) for each in thermal_ethanol(6)]
    expected = predictor.evaluate(graphs, options)
    monkeypatch.setattr(engine, "evaluate", limited)

    async def run() -> list[BatchRecord]:
        records: list[BatchRecord] = []
        limits = BatcherLimits(bounds=Cost(edges=4000, atoms=4000), max_batch_seconds=1e6)
        batcher: Batcher[Group, Graph, Prediction] = Batcher(
            evaluate, limits, kind_of=kind_of, observe=records.append
        )
        batcher.start()
        group = Group(predictor=predictor, options=options)
        works = [Work(item=each, cost=Cost(edges=each.n_edges, atoms=9)) for each in graphs]
        for _ in range(2):
            answers = await batcher.submit(group, works)
            assert_same(answers.results, expected)
        await batcher.stop(drain_timeout_s=10.0)
        return records

    records = asyncio.run(run())
    assert [each.n_structures for each in records] == [6, 3, 3]
    assert [each.n_out_of_memory for each in records] == [1, 0, 0]


def assert_same(
    found: Sequence[Prediction | PosterionError], expected: Sequence[Prediction | PosterionError]
) -> None:
    for one, other in zip(found, expected, strict=True):
        assert isinstance(one, Prediction)
        assert isinstance(other, Prediction)
        np.testing.assert_allclose(one.forces, other.forces, atol=1e-5)
