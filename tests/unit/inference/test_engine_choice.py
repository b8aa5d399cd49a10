"""A faster engine serves only if the reference confirms what it says."""

import logging

import pytest
import torch

from posterion.graph.batch import GraphBatch
from posterion.inference import engine_choice
from posterion.inference.bank import ReferenceEngine
from posterion.inference.engine_choice import TOLERANCE, choose_engine, force_deviation
from posterion.inference.fused.engine import FusedEngine
from posterion.inference.loading import SampleBank
from posterion.network.functional import NetworkOutputs
from tests.support.banks import NETWORK, REFERENCE, network_function


class Off(FusedEngine):
    """Forces that are off by a fraction of their root mean square."""

    by = 0.0

    def evaluate(
        self, batch: GraphBatch, *, n_samples: int | None, stress: bool, first: int = 0
    ) -> NetworkOutputs:
        answer = super().evaluate(batch, n_samples=n_samples, stress=stress, first=first)
        forces = answer.forces.clone()
        forces[-1, -1, -1] += self.by * forces.square().mean().sqrt()
        return answer._replace(forces=forces)


def test_the_fast_engine_is_chosen_and_measured(bank: SampleBank) -> None:
    chosen = choose_engine(NETWORK, REFERENCE, bank.parameters)
    assert chosen.engine.name == "fused"
    assert 0.0 < chosen.deviation < 2e-5


def test_one_component_of_one_sample_is_enough_to_notice(bank: SampleBank) -> None:
    oracle = ReferenceEngine(network_function(torch.float64), bank.parameters)
    engine = Off(NETWORK, REFERENCE, bank.parameters)
    engine.by = 1e-3
    assert force_deviation(engine, oracle, NETWORK) == pytest.approx(1e-3, rel=0.1)
    engine.by = float("nan")
    assert force_deviation(engine, oracle, NETWORK) == float("inf")


def test_an_engine_that_deviates_is_not_used(
    bank: SampleBank, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Off(NETWORK, REFERENCE, bank.parameters)
    engine.by = 2.0 * TOLERANCE
    monkeypatch.setattr(engine_choice, "_fused", lambda *given: engine)
    with caplog.at_level(logging.WARNING):
        chosen = choose_engine(NETWORK, REFERENCE, bank.parameters)
    assert chosen.engine.name == "vectorized"
    assert chosen.deviation < TOLERANCE
    assert "engine fused is not used: its forces deviate by 2.0e-04" in caplog.text


def test_an_engine_that_cannot_run_is_not_used(
    bank: SampleBank, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*given: object) -> FusedEngine:
        raise ImportError("no module named numba")

    monkeypatch.setattr(engine_choice, "_fused", broken)
    with caplog.at_level(logging.WARNING):
        chosen = choose_engine(NETWORK, REFERENCE, bank.parameters)
    assert chosen.engine.name == "vectorized"
    assert "engine fused is not used: it cannot run here" in caplog.text
    assert "no module named numba" in caplog.text
