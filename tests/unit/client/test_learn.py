"""Labels of a trajectory go to the real API over an event loop; the caller keeps the state."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace

import httpx
import numpy as np
import pytest

from posterion.api.app import create_app
from posterion.api.settings import ApiSettings
from posterion_client import (
    AsyncClient,
    CompositionMismatch,
    InvalidArgument,
    InvalidStructure,
    Judgement,
    LabelState,
    Lesson,
    PosterionError,
    PredictOptions,
    RetryPolicy,
    Structure,
)
from posterion_client import _request as request_module
from tests.support.fake_backend import OLDER, STABLE, SpringBackend

WATER = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
FRAMES = [Structure(symbols=["O", "H", "H"], positions=WATER + by) for by in (0.0, 0.1, 0.2, 0.3)]
HYDROXYL = Structure(symbols=["O", "H"], positions=WATER[:2])
ENERGIES = [-100.0, -99.5, None, -99.1]


def ask(
    work: Callable[[AsyncClient], Awaitable[Lesson]],
    backend: SpringBackend | None = None,
    *,
    version: str | None = None,
) -> Lesson:
    app = create_app(ApiSettings(), backend or SpringBackend())

    async def run() -> Lesson:
        async with AsyncClient(
            transport=httpx.ASGITransport(app),
            retry=RetryPolicy(budget_s=0),
            model="springs" if version else None,
            version=version,
        ) as client:
            return await work(client)

    return asyncio.run(run())


def test_the_state_of_a_lesson_goes_on_in_the_next() -> None:
    together = ask(lambda client: client.learn(FRAMES, ENERGIES, threshold=0.5))
    assert (together.state.model, together.state.digest) == ("springs", STABLE)
    assert (together.state.composition, together.state.n) == ("H2O", 2)

    async def one_by_one(client: AsyncClient) -> Lesson:
        state: LabelState | None = None
        results: list[Judgement | PosterionError] = []
        for frame, energy in zip(FRAMES, ENERGIES, strict=True):
            lesson = await client.learn([frame], [energy], threshold=0.5, state=state)
            state, results = lesson.state, [*results, *lesson.results]
        assert state is not None
        return Lesson(results=tuple(results), state=state)

    apart = ask(one_by_one)
    assert asdict(apart.state) == pytest.approx(asdict(together.state))
    for one, other in zip(apart.results, together.results, strict=True):
        assert isinstance(one, Judgement)
        assert isinstance(other, Judgement)
        assert one.confidence == pytest.approx(other.confidence)
        assert (one.residual is None) == (other.residual is None)


def test_long_sequences_teach_over_several_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    together = ask(lambda client: client.learn(FRAMES, ENERGIES, threshold=0.5))
    monkeypatch.setattr(request_module, "MAX_STRUCTURES_PER_REQUEST", 1)
    backend = SpringBackend()
    apart = ask(lambda client: client.learn(FRAMES, ENERGIES, threshold=0.5), backend)
    assert len(backend.calls) == len(FRAMES)
    assert asdict(apart.state) == pytest.approx(asdict(together.state))


def test_structures_that_err_stand_in_their_place_and_teach_nothing() -> None:
    clash = Structure(symbols=["H", "H"], positions=[[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]])
    lesson = ask(
        lambda client: client.learn(
            [clash, FRAMES[0], HYDROXYL, FRAMES[1]], [1.0, 1.0, 1.0, None], threshold=0.5
        )
    )
    kinds = [type(result) for result in lesson.results]
    assert kinds == [InvalidStructure, Judgement, CompositionMismatch, Judgement]
    mismatch = lesson.results[2]
    assert isinstance(mismatch, CompositionMismatch)
    assert (mismatch.index, mismatch.status) == (2, 422)


def test_a_state_is_answered_by_its_own_sample_set() -> None:
    """Also where the client asks for another version; a first state is of the client's."""
    old = LabelState(model="springs", digest=OLDER, offset=0.0)
    lesson = ask(
        lambda c: c.learn([*FRAMES[:1], HYDROXYL], [1.0, 2.0], threshold=0.5, state=old),
        version="stable",
    )
    assert lesson.state == replace(old, n=2, sum_squares=lesson.state.sum_squares)
    begun = ask(lambda c: c.learn(FRAMES[:1], [1.0], threshold=0.5), version=OLDER)
    assert begun.state.digest == OLDER


@pytest.mark.parametrize(
    ("energies", "threshold", "options", "expected"),
    [
        ([1.0], 0.5, None, r"one energy per structure \(2\).* got 1"),
        ([1.0, float("nan")], 0.5, None, "energy 1 must be finite"),
        ([1.0, None], 0.0, None, "threshold must be a positive"),
        ([1.0, None], 0.5, PredictOptions(stress=True), "only precision"),
        ([1.0, None], 0.5, PredictOptions(gradient_of="latent_score"), "only precision"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_it_is_sent(
    energies: list[float | None], threshold: float, options: PredictOptions | None, expected: str
) -> None:
    backend = SpringBackend()
    with pytest.raises(InvalidArgument, match=expected):
        ask(lambda c: c.learn(FRAMES[:2], energies, threshold=threshold, options=options), backend)
    assert backend.calls == []
