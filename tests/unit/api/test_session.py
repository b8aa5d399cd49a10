"""What a session promises beside its numbers: steps, refusals, limits, and its end."""

import asyncio
import struct
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI

from posterion.api import session as session_module
from posterion.api.app import create_app
from posterion.api.settings import ApiSettings
from posterion.errors import InvalidStructure, Overloaded
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.structure import Structure
from tests.support.asgi_caller import AsgiCaller
from tests.support.asgi_session import AsgiSession
from tests.support.fake_backend import OLDER, STABLE, SpringBackend, spring_prediction
from tests.support.frames import read_reply, step_frame

NUMBERS = [8, 1, 1]
WATER = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
OPENING: dict[str, Any] = {"structure": {"numbers": NUMBERS, "positions": WATER.tolist()}}


def moved(step: int, *, by: float = 0.1) -> bytes:
    return step_frame(step, WATER[None] + by)


def test_a_reply_has_its_numbers_where_the_guide_says(app: FastAPI, caller: AsgiCaller) -> None:
    async def talk() -> bytes:
        session = AsgiSession(app)
        said = await session.open({**OPENING, "units": {"length": "nm", "energy": "hartree"}})
        assert (said["model"]["digest"], said["layout"], said["skin"]) == (STABLE, 1, 0.1)
        reply = await session.step(step_frame(7, WATER[None] / 10.0))
        await session.leave()
        return reply

    frame = caller.run(talk())
    water = Structure(atomic_numbers=np.array(NUMBERS), positions=WATER / 10.0 * 10.0)
    expected = spring_prediction(water, EvaluationOptions())
    assert len(frame) == 64 + 64 + 3 * 24 + 2 * 3 * 8
    assert frame[:32] == b"PSTN" + struct.pack("<HHQIIII", 1, 2, 7, 1, 3, 0b1011, 0)
    assert struct.unpack_from("<dddII", frame, 32) == (1.0, 2.0, 3.0, 1, 0)
    bits = 0b1001 if expected.flags else 0
    assert struct.unpack_from("<IIII", frame, 64) == (1 if bits else 0, 4, bits, 0)
    hartree = 27.211386024367243
    assert struct.unpack_from("<d", frame, 80)[0] == pytest.approx(expected.energy / hartree)
    forces = np.frombuffer(frame, "<f8", 9, 128).reshape(3, 3)
    np.testing.assert_allclose(forces, expected.forces * 10.0 / hartree, rtol=1e-12)


def test_steps_ascend_and_the_last_one_may_be_sent_again(
    app: FastAPI, caller: AsgiCaller, backend: SpringBackend
) -> None:
    async def talk() -> None:
        session = AsgiSession(app)
        await session.open({**OPENING, "uncertainty_interval": 2})
        first = await session.step(moved(4))
        assert await session.step(moved(4)) == first
        assert len(backend.calls) == 1
        for wrong in (moved(3), moved(4, by=0.2)):
            session.say(wrong)
            assert (await session.document())["code"] == "step-out-of-order"
        second = read_reply(await session.step(moved(9)))
        assert read_reply(first).epistemic is not None
        assert second.epistemic is None
        assert np.isnan(second.records["energy_total"]).all()
        await session.leave()

    caller.run(talk())


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Overloaded("full"), "overloaded"),
        (InvalidStructure("meets", faults=()), "invalid-structure"),
    ],
)
def test_a_step_that_fails_may_be_sent_again(
    app: FastAPI, caller: AsgiCaller, backend: SpringBackend, failure: Exception, code: str
) -> None:
    async def talk() -> None:
        session = AsgiSession(app)
        await session.open(OPENING)
        backend.failure = failure
        session.say(moved(1))
        assert (await session.document())["code"] == code
        backend.failure = None
        backend.poison = float("nan")
        session.say(moved(1))
        assert (await session.document())["code"] == "non-finite-result"
        backend.poison = None
        session.say(step_frame(1, np.full((1, 3, 3), np.nan)))
        problem = await session.document()
        assert problem["code"] == "invalid-structure"
        assert read_reply(await session.step(moved(1))).step == 1
        await session.leave()

    caller.run(talk())


BROKEN: dict[str, Callable[[bytes], bytes | str]] = {
    "text": lambda _: "{}",
    "empty": lambda _: b"",
    "short": lambda frame: frame[:-1],
    "long": lambda frame: frame + b"\0",
    "magic": lambda frame: b"QSTN" + frame[4:],
    "layout": lambda frame: frame[:4] + b"\2" + frame[5:],
    "kind": lambda frame: frame[:6] + b"\1" + frame[7:],
    "images": lambda frame: frame[:16] + b"\2" + frame[17:],
    "atoms": lambda frame: frame[:20] + b"\xff\xff\xff\xff" + frame[24:],
    "unused": lambda frame: frame[:24] + b"\1" + frame[25:],
    "option": lambda frame: frame[:28] + b"\2" + frame[29:],
    "deadline": lambda frame: frame[:32] + struct.pack("<d", float("nan")) + frame[40:],
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_step_ends_the_session(app: FastAPI, caller: AsgiCaller, name: str) -> None:
    async def talk() -> None:
        session = AsgiSession(app)
        await session.open(OPENING)
        session.say(BROKEN[name](moved(1)))
        assert (await session.document())["code"] == "malformed-body"
        assert await session.closed() == 4400

    caller.run(talk())


WRONG_OPENINGS: dict[str, tuple[object, str]] = {
    "no text": (b"{}", "malformed-body"),
    "no json": ("{", "malformed-body"),
    "no object": ("[]", "invalid-request"),
    "unknown field": ({**OPENING, "skinn": 1.0}, "invalid-request"),
    "adaptive": ({**OPENING, "n_samples": "adaptive"}, "invalid-request"),
    "images": ({**OPENING, "n_images": 0}, "invalid-request"),
    "twice": ({**OPENING, "outputs": ["energy", "energy"]}, "invalid-request"),
    "skin": ({**OPENING, "skin": 9.0}, "invalid-request"),
    "too many": ({**OPENING, "n_images": 65}, "too-large"),
    "type": ({"structure": {"numbers": ["8"], "positions": [[0, 0, 0]]}}, "invalid-request"),
    "shape": ({"structure": {"numbers": [8], "positions": [[0, 0]]}}, "invalid-structure"),
    "both": ({"structure": {"positions": [[0, 0, 0]]}}, "invalid-request"),
    "moved": ({**OPENING, "digest": OLDER}, "version-moved"),
}


@pytest.mark.parametrize("name", WRONG_OPENINGS)
def test_a_wrong_opening_is_explained(app: FastAPI, caller: AsgiCaller, name: str) -> None:
    opening, code = WRONG_OPENINGS[name]

    async def talk() -> None:
        session = AsgiSession(app)
        problem = await session.open(opening)
        assert problem["code"] == code
        assert all(each["pointer"].startswith("/") for each in problem["errors"])
        assert await session.closed() == 4000 + problem["status"]

    caller.run(talk())


def test_strangers_are_turned_away(app: FastAPI, caller: AsgiCaller) -> None:
    async def talk() -> None:
        cases = [
            (AsgiSession(app, subprotocols=()), 4422),
            (AsgiSession(app, origin="http://elsewhere.test", host="here.test"), 4403),
            (AsgiSession(app, "/v1/models/nobody/session"), 4404),
        ]
        for session, code in cases:
            session.say(OPENING)
            await session.document()
            assert await session.closed() == code

    caller.run(talk())


def test_a_version_that_is_named_answers_whatever_the_alias_does(
    app: FastAPI, caller: AsgiCaller
) -> None:
    async def talk() -> None:
        session = AsgiSession(app, f"/v1/models/springs/versions/{OLDER}/session")
        assert (await session.open(OPENING))["model"]["digest"] == OLDER
        await session.leave()

    caller.run(talk())


def test_sessions_are_limited_and_the_silent_ones_ended(
    caller: AsgiCaller, backend: SpringBackend
) -> None:
    app = create_app(ApiSettings(max_sessions=1, session_idle_s=0.5), backend)

    async def talk() -> None:
        first = AsgiSession(app)
        await first.open(OPENING)
        second = AsgiSession(app)
        assert (await second.document())["code"] == "overloaded"
        assert await second.closed() == 4503
        assert (await first.document())["code"] == "session-idle"
        assert await first.closed() == 4408
        third = AsgiSession(app)
        assert "model" in await third.open(OPENING)
        await third.leave()

    caller.run(talk())
    text = app.state.service.metrics.render(served=(), ready=True).decode()
    assert "posterion_sessions_active 0.0" in text


def test_who_does_not_read_is_given_up(caller: AsgiCaller, backend: SpringBackend) -> None:
    app = create_app(ApiSettings(body_timeout_s=0.3), backend)

    async def talk() -> None:
        session = AsgiSession(app, most_unread=1)
        await session.open(OPENING)
        session.say(moved(1))
        session.say(moved(2))
        async with asyncio.timeout(20.0):
            await session.task

    caller.run(talk())
    text = app.state.service.metrics.render(served=(), ready=True).decode()
    assert "posterion_sessions_active 0.0" in text


@pytest.mark.parametrize("message", [bytes(1025), 1025 * " "])
def test_no_message_is_longer_than_a_frame(
    caller: AsgiCaller, backend: SpringBackend, message: object
) -> None:
    app = create_app(ApiSettings(max_frame_bytes=1024), backend)

    async def talk() -> None:
        session = AsgiSession(app)
        await session.open(OPENING)
        session.say(message)
        assert (await session.document())["code"] == "too-large"
        assert await session.closed() == 1009

    caller.run(talk())


@pytest.mark.parametrize("longest", [0, 10_000])
def test_long_messages_are_read_and_written_in_threads(
    caller: AsgiCaller, backend: SpringBackend, monkeypatch: pytest.MonkeyPatch, longest: int
) -> None:
    app = create_app(ApiSettings(offload_bytes=longest, offload_numbers=longest), backend)
    here: list[bool] = []

    def noted(work: Callable[..., object]) -> Callable[..., object]:
        def noting(*arguments: object) -> object:
            here.append(threading.current_thread() is threading.main_thread())
            return work(*arguments)

        return noting

    for name in ("read_opening", "encode_reply"):
        monkeypatch.setattr(session_module, name, noted(getattr(session_module, name)))

    async def talk() -> None:
        session = AsgiSession(app)
        await session.open(OPENING)
        assert read_reply(await session.step(moved(1))).step == 1
        await session.leave()

    caller.run(talk())
    assert here == [longest > 0] * 2


def test_draining_answers_the_running_step_first(
    app: FastAPI, caller: AsgiCaller, backend: SpringBackend
) -> None:
    async def talk() -> None:
        idle, busy = AsgiSession(app), AsgiSession(app)
        await idle.open(OPENING)
        await busy.open(OPENING)
        backend.hold = asyncio.Event()
        busy.say(moved(1))
        await backend.reached.wait()
        backend.told_of_drain()
        assert (await idle.document())["code"] == "draining"
        assert await idle.closed() == 1012
        backend.hold.set()
        assert read_reply((await busy.said())["bytes"]).step == 1
        assert (await busy.document())["code"] == "draining"
        assert await busy.closed() == 1012
        late = AsgiSession(app)
        assert (await late.document())["code"] == "draining"

    caller.run(talk())
