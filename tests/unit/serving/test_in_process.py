"""The backend over a real bank: what the API is promised, without HTTP."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from posterion.api.backend import PredictReply
from posterion.errors import (
    DeadlineExceeded,
    Draining,
    InvalidRequest,
    PosterionError,
    StructureTooLarge,
    TooLarge,
    UnknownModel,
    UnsupportedElement,
)
from posterion.inference.engine_choice import TOLERANCE
from posterion.serving.in_process import InProcessBackend
from posterion.serving.metrics import BatchMetrics
from posterion.serving.settings import ServeSettings
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.prediction import FloatArray, Prediction
from posterion.structures.structure import Structure
from posterion_store import Store
from tests.support.banks import ethanol, publish_random_bank, thermal_ethanol

ValueT = TypeVar("ValueT")
OPTIONS = EvaluationOptions()
XENON = Structure(atomic_numbers=np.array([54]), positions=np.zeros((1, 3)))


@dataclass(frozen=True)
class Stage:
    """A started backend over a store with two versions, the first of them stable."""

    backend: InProcessBackend
    first: str
    second: str
    runner: asyncio.Runner

    def run(self, body: Coroutine[None, None, ValueT]) -> ValueT:
        """Run a coroutine on the backend's loop."""
        return self.runner.run(body)

    def predict(
        self,
        structures: Sequence[Structure],
        options: EvaluationOptions = OPTIONS,
        *,
        version: str | None = None,
        deadline_s: float | None = None,
    ) -> PredictReply:
        return self.run(
            self.backend.predict("ethanol", version, structures, options, deadline_s=deadline_s)
        )


@contextlib.contextmanager
def started(path: Path, **options: object) -> Iterator[tuple[InProcessBackend, asyncio.Runner]]:
    """A started backend on a loop of its own."""
    settings = ServeSettings.model_validate(
        {"store": str(path), "device": "cpu", "poll_interval_s": 0.02, **options}
    )
    with asyncio.Runner() as runner:
        backend = InProcessBackend(settings, BatchMetrics(CollectorRegistry()))
        runner.run(backend.startup())
        try:
            yield backend, runner
        finally:
            runner.run(backend.shutdown())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A store with two versions of a bank, the first of them stable."""
    path = tmp_path_factory.mktemp("store")
    writable = Store.open(path)
    first = publish_random_bank(writable, seed=0, n_samples=2)
    second = publish_random_bank(writable, seed=1, n_samples=2, alias="canary")
    return path, first, second


@pytest.fixture(scope="module")
def stage(store: tuple[Path, str, str]) -> Iterator[Stage]:
    """One backend for all tests that leave it as it was."""
    path, first, second = store
    with started(path, api={"max_edges": 1000}) as (backend, runner):
        yield Stage(backend, first, second, runner)


def forces(result: Prediction | PosterionError) -> FloatArray:
    """Forces of a structure that was predicted."""
    assert isinstance(result, Prediction)
    return result.forces


def test_one_request_mixes_predictions_and_errors_in_order(stage: Stage) -> None:
    structures = [ethanol(), XENON, *thermal_ethanol(2)]
    reply = stage.predict(structures)
    assert reply.model.digest == stage.first
    assert isinstance(reply.results[1], UnsupportedElement)
    (alone,) = stage.predict(structures[2:3]).results
    np.testing.assert_allclose(forces(reply.results[2]), forces(alone), atol=1e-5)


def test_in_float64_a_batch_changes_nothing(stage: Stage) -> None:
    options = EvaluationOptions(precision="float64", uncertainty=False)
    structures = thermal_ethanol(3)
    together = stage.predict(structures, options)
    assert together.model.engine == "reference"
    for structure, result in zip(structures, together.results, strict=True):
        (alone,) = stage.predict([structure], options).results
        np.testing.assert_allclose(forces(result), forces(alone), atol=1e-9)


def test_the_cards_and_versions_are_those_of_the_store(stage: Stage) -> None:
    backend = stage.backend
    assert backend.default_model() == "ethanol"
    (card,) = backend.models()
    assert (card.digest, card.aliases) == (stage.first, ("stable",))
    assert card.engines == {"float32": "fused", "float64": "reference"}
    assert 0.0 < card.engine_deviations["float32"] < TOLERANCE
    assert card.thresholds["force_epistemic_max"]
    assert [each.digest for each in backend.versions("ethanol")] == [stage.second, stage.first]
    assert backend.card("ethanol", "canary").digest == stage.second
    short = stage.second.removeprefix("sha256:")[:16]
    assert backend.identity("ethanol", short).digest == stage.second
    with pytest.raises(UnknownModel):
        backend.card("water", None)


def test_a_version_that_is_not_served_answers_when_named(stage: Stage) -> None:
    assert stage.predict([ethanol()], version=stage.second).model.digest == stage.second
    assert stage.predict([ethanol()]).model.digest == stage.first


def test_a_deadline_that_has_passed_is_told(stage: Stage) -> None:
    with pytest.raises(DeadlineExceeded):
        stage.predict([ethanol()], deadline_s=0.0)


def test_options_that_do_not_suit_the_bank_fail_the_request(stage: Stage) -> None:
    with pytest.raises(InvalidRequest):
        stage.predict([ethanol()], EvaluationOptions(n_samples=99))


def test_a_request_with_too_many_edges_is_too_large(stage: Stage) -> None:
    with pytest.raises(TooLarge, match="at most 1000 edges in a request"):
        stage.predict(thermal_ethanol(20))
    assert stage.predict(thermal_ethanol(2)).results


def test_a_structure_with_too_many_edges_fails_alone(stage: Stage) -> None:
    # Carbon atoms every 1 Angstrom: more than 1000 neighbour pairs, whatever the cutoff.
    places = np.stack(np.meshgrid(*[np.arange(5.0)] * 3), axis=-1).reshape(-1, 3)
    crystal = Structure(atomic_numbers=np.full(len(places), 6), positions=places)
    too_large, small = stage.predict([crystal, ethanol()]).results
    assert isinstance(too_large, StructureTooLarge)
    assert isinstance(small, Prediction)


def test_readiness_needs_every_named_bank_and_ends_with_draining(
    store: tuple[Path, str, str],
) -> None:
    with started(store[0], banks=("ethanol", "water")) as (backend, runner):
        assert backend.live().ok
        assert not backend.ready().ok
        assert "water" in backend.ready().detail
        runner.run(backend.drain())
        assert backend.live().ok
        assert not backend.ready().ok
        with pytest.raises(Draining):
            runner.run(backend.predict("ethanol", None, [ethanol()], OPTIONS, deadline_s=None))


def test_aliases_move_and_a_damaged_version_is_refused_without_a_restart(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    first = publish_random_bank(store, seed=0, n_samples=2)
    second = publish_random_bank(store, seed=1, n_samples=2, alias=None)
    with started(tmp_path) as (backend, runner):

        async def until(condition: Callable[[], bool]) -> None:
            async with asyncio.timeout(200):
                while not condition():  # noqa: ASYNC110 - found by polling
                    await asyncio.sleep(0.01)

        def answering() -> str:
            return backend.identity("ethanol", None).digest

        assert answering() == first
        store.promote("ethanol", second, alias="stable", by="tests")
        runner.run(until(lambda: answering() == second))
        store.rollback("ethanol", by="tests")
        runner.run(until(lambda: answering() == first))

        damaged = publish_random_bank(store, seed=2, n_samples=2, alias=None)
        victim = store.manifest(damaged).samples[1].sha256
        flip_last_byte(tmp_path, victim)
        store.promote("ethanol", damaged, alias="stable", by="tests")
        runner.run(until(lambda: victim in backend.ready().detail))
        assert backend.ready().ok
        reply = runner.run(backend.predict("ethanol", None, [ethanol()], OPTIONS, deadline_s=None))
        assert reply.model.digest == first


def test_a_new_service_names_a_damaged_file_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store.open(tmp_path)
    victim = store.manifest(publish_random_bank(store, n_samples=2)).samples[1].sha256
    flip_last_byte(tmp_path, victim)
    logging.getLogger("posterion").addHandler(caplog.handler)
    try:
        with started(tmp_path) as (backend, _):
            assert not backend.ready().ok
            assert victim in backend.ready().detail
    finally:
        logging.getLogger("posterion").removeHandler(caplog.handler)
    (line,) = {record.getMessage() for record in caplog.records if record.levelname != "INFO"}
    assert victim in line
    assert [record.exc_info for record in caplog.records] == [None] * len(caplog.records)


def flip_last_byte(path: Path, sha256: str) -> None:
    """Damage a blob without changing its size."""
    (blob,) = path.rglob(f"*{sha256}")
    blob.chmod(0o644)
    data = blob.read_bytes()
    blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
