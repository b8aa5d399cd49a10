"""A bank that cannot predict is found out before any caller sees it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from posterion.errors import BankInvalid, PosterionError
from posterion.inference.predictor import Predictor
from posterion.inference.sample_file import encode_sample
from posterion.serving.in_process import InProcessBackend
from posterion.serving.metrics import BatchMetrics
from posterion.serving.self_check import (
    RELATIVE_TOLERANCE,
    check_predictions,
    golden_structure,
)
from posterion.serving.settings import ServeSettings
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.prediction import Prediction
from posterion.structures.structure import Structure
from posterion_store import SampleEntry, Store
from tests.support.banks import NETWORK, publish_random_bank, random_bank, random_parameters


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    """A sound bank."""
    return Predictor(random_bank(n_samples=2))


class Biased:
    """A predictor whose single precision is off by a fraction of the largest force."""

    def __init__(self, predictor: Predictor, fraction: float) -> None:
        self._predictor = predictor
        self._fraction = fraction

    def predict(
        self, structures: Sequence[Structure], options: EvaluationOptions
    ) -> list[Prediction | PosterionError]:
        (result,) = self._predictor.predict(structures, options)
        assert isinstance(result, Prediction)
        if options.precision == "float32":
            scale = max(1.0, float(np.abs(result.forces).max()))
            result = replace(result, forces=result.forces + self._fraction * scale)
        return [result]


@pytest.mark.parametrize("elements", [(1,), (1, 6, 8), tuple(range(1, 12))])
def test_the_golden_structure_holds_every_element_and_no_lone_atom(
    elements: tuple[int, ...],
) -> None:
    structure = golden_structure(elements)
    assert set(structure.atomic_numbers.tolist()) == set(elements)
    distances = np.linalg.norm(structure.positions[1:] - structure.positions[:-1], axis=1)
    assert distances.min() > 0.5
    assert distances.max() < 2.0


def test_a_sound_bank_passes(predictor: Predictor) -> None:
    check_predictions(predictor, NETWORK.elements)


def test_engines_that_disagree_are_found(predictor: Predictor) -> None:
    check_predictions(Biased(predictor, 0.5 * RELATIVE_TOLERANCE), NETWORK.elements)
    with pytest.raises(BankInvalid, match="disagree on the golden structure"):
        check_predictions(Biased(predictor, 2.0 * RELATIVE_TOLERANCE), NETWORK.elements)


def test_an_element_that_the_bank_does_not_know_is_found(predictor: Predictor) -> None:
    with pytest.raises(BankInvalid, match="cannot be predicted in float32"):
        check_predictions(predictor, (*NETWORK.elements, 54))


def test_a_service_is_ready_only_when_its_bank_predicts(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    sound = publish_random_bank(store, n_samples=2, alias=None)
    store.promote("ethanol", publish_overflowing(store, sound), alias="stable", by="tests")

    async def run() -> None:
        settings = ServeSettings(store=str(tmp_path), device="cpu", poll_interval_s=0.02)
        backend = InProcessBackend(settings, BatchMetrics(CollectorRegistry()))
        await backend.startup()
        try:
            assert backend.live().ok
            assert not backend.ready().ok
            assert "golden structure" in backend.ready().detail
            store.promote("ethanol", sound, alias="stable", by="tests")
            async with asyncio.timeout(100.0):
                while not backend.ready().ok:  # noqa: ASYNC110 - found by polling
                    await asyncio.sleep(0.02)
            assert backend.identity("ethanol", None).digest == sound
        finally:
            await backend.shutdown()

    asyncio.run(run())


def publish_overflowing(store: Store, sound: str) -> str:
    """Publish a version that loads, but whose numbers leave the range of single precision."""
    blobs = [
        store.put_blob(encode_sample(1e20 * sample.numpy()))
        for sample in random_parameters(2, seed=0)
    ]
    samples = tuple(
        SampleEntry(sha256=blob.sha256, size=blob.size, chain=index, draw=0)
        for index, blob in enumerate(blobs)
    )
    return store.publish(store.manifest(sound).model_copy(update={"samples": samples}))
