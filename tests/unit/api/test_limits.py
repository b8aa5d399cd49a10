"""Limits hold while a body arrives, not after it."""

import asyncio
import gzip
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import numpy as np
import orjson
import pytest
from starlette.types import Message

import posterion.api.prediction as prediction_module
from posterion.api.app import create_app
from posterion.api.codec import decode
from posterion.api.settings import ApiSettings
from tests.support.asgi_caller import JSON, MSGPACK, PREDICT, AsgiCaller
from tests.support.fake_backend import SpringBackend
from tests.support.requests import WATER, document

LIMIT = 4096
BODY_TIMEOUT_S = 0.05
PATIENCE_S = 20.0
"""Far more than any step here takes; ends a test that would hang."""


@pytest.fixture
def caller() -> Iterator[AsgiCaller]:
    settings = ApiSettings(max_body_bytes=LIMIT)
    with AsgiCaller(create_app(settings, SpringBackend())) as asgi_caller:
        yield asgi_caller


def padded(n_bytes: int) -> bytes:
    body = orjson.dumps(document(WATER))
    return body + b" " * (n_bytes - len(body))


def test_a_body_of_the_limit_is_read(caller: AsgiCaller) -> None:
    assert caller.post(padded(LIMIT)).status_code == 200


def test_a_declared_longer_body_is_refused_unread(caller: AsgiCaller) -> None:
    status, n_read = caller.run(exchange(caller, [padded(LIMIT + 1)], declared=LIMIT + 1))
    assert (status, n_read) == (413, 0)


def test_an_undeclared_longer_body_is_read_no_further_than_the_limit(caller: AsgiCaller) -> None:
    chunks = [b" " * 1024] * 1000
    status, n_read = caller.run(exchange(caller, chunks, declared=None))
    assert (status, n_read) == (413, LIMIT // 1024 + 1)


@pytest.mark.parametrize("declared", ["-1", "1e3", "x", "", "\u0661", "9" * 5000])
def test_a_content_length_that_is_no_number_is_refused(caller: AsgiCaller, declared: str) -> None:
    status, n_read = caller.run(exchange(caller, [b"{}"], declared=declared))
    assert status == (413 if declared.startswith("9") else 400)
    assert n_read == 0


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, identity", "x"])
def test_a_compressed_body_is_never_expanded(caller: AsgiCaller, encoding: str) -> None:
    bomb = gzip.compress(bytes(1_000_000))
    reply = caller.post(bomb, content_encoding=encoding)
    assert reply.status_code == 415
    assert reply.json()["code"] == "unsupported-media-type"


def test_identity_is_no_compression(caller: AsgiCaller) -> None:
    assert caller.post(padded(LIMIT), content_encoding="Identity").status_code == 200


def test_a_body_that_stops_arriving_is_not_waited_for() -> None:
    settings = ApiSettings(body_timeout_s=BODY_TIMEOUT_S)
    with AsgiCaller(create_app(settings, SpringBackend())) as caller:
        status, n_read = caller.run(exchange(caller, [b"{", None], declared=100))
    assert (status, n_read) == (400, 1)


def test_a_caller_that_leaves_within_its_body_gets_no_answer(caller: AsgiCaller) -> None:
    sent: list[Message] = []
    messages: Iterator[Message] = iter(
        [
            {"type": "http.request", "body": b"{", "more_body": True},
            {"type": "http.disconnect"},
        ]
    )

    async def receive() -> Message:
        return next(messages)

    async def send(message: Message) -> None:
        sent.append(message)

    caller.run(caller.app(scope(None), receive, send))  # type: ignore[arg-type]
    assert sent == []
    assert 'code="client-closed"' in caller.get("/metrics").text


@pytest.mark.parametrize("content_type", [JSON, MSGPACK])
def test_large_bodies_leave_the_event_loop_and_answer_the_same(
    monkeypatch: pytest.MonkeyPatch, content_type: str
) -> None:
    threads: list[int] = []

    def noting_decode(*arguments: Any) -> object:  # noqa: ANN401
        threads.append(threading.get_ident())
        return decode(*arguments)

    monkeypatch.setattr(prediction_module, "decode", noting_decode)
    replies = []
    for settings in (ApiSettings(), ApiSettings(offload_bytes=0, offload_numbers=0)):
        with AsgiCaller(create_app(settings, SpringBackend())) as caller:
            reply = caller.predict(document(WATER), accept=content_type)
            replies.append(reply.content[: reply.content.index(b"timing_ms")])
    assert threads[0] == threading.get_ident()
    assert threads[1] != threading.get_ident()
    assert replies[0] == replies[1]


def test_a_million_atoms_are_too_large_and_their_neighbours_fine() -> None:
    settings = ApiSettings()
    many = {"numbers": [1] * 1_000_000, "positions": [[0, 0, 0]]}
    raw_many = {
        "numbers": np.ones(1_000_000, dtype=np.uint8),
        "positions": np.zeros((1_000_000, 3), dtype=np.float32),
    }
    with AsgiCaller(create_app(settings, SpringBackend())) as caller:
        for reply in (
            caller.predict(document(many, WATER)),
            caller.predict_msgpack(document(raw_many, WATER), accept=JSON),
        ):
            first, second = reply.json()["results"]
            assert first["error"]["code"] == "structure-too-large"
            assert second["status"] == "ok"


def scope(declared: int | str | None) -> dict[str, Any]:
    headers = [(b"content-type", JSON.encode()), (b"host", b"posterion.test")]
    if declared is not None:
        headers.append((b"content-length", str(declared).encode()))
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": PREDICT,
        "raw_path": PREDICT.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }


async def exchange(
    caller: AsgiCaller, chunks: Sequence[bytes | None], *, declared: int | str | None
) -> tuple[int, int]:
    """Send a body in chunks, None = silence; return the status and the chunks taken."""
    source = _messages(chunks)
    n_read = 0
    status = 0

    async def receive() -> Message:
        nonlocal n_read
        message = await anext(source)
        n_read += 1
        return message

    async def send(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)

    async with asyncio.timeout(PATIENCE_S):
        await caller.app(scope(declared), receive, send)
    return status, n_read


async def _messages(chunks: Sequence[bytes | None]) -> AsyncIterator[Message]:
    for index, chunk in enumerate(chunks):
        if chunk is None:
            await asyncio.Event().wait()
        yield {"type": "http.request", "body": chunk, "more_body": index + 1 < len(chunks)}
