"""Work begins with the application and ends with its deadline or its caller."""

import asyncio

import pytest
from fastapi import FastAPI
from starlette.types import Message

from tests.support.asgi_caller import AsgiCaller
from tests.support.fake_backend import SpringBackend
from tests.support.requests import COINCIDENT, WATER, document

DEADLINES_MS = (50, 500, 5000)
"""On a busy machine a short one passes while the request is still being read."""

PATIENCE_S = 20.0
"""Far more than any step here takes; ends a test that would hang."""


def test_the_backend_lives_as_long_as_the_application(
    app: FastAPI, caller: AsgiCaller, backend: SpringBackend
) -> None:
    async def live() -> None:
        async with app.router.lifespan_context(app):
            assert backend.lifecycle == ["startup"]

    caller.run(live())
    assert backend.lifecycle == ["startup", "shutdown"]


def test_a_deadline_that_passes_cancels_the_work(
    caller: AsgiCaller, backend: SpringBackend
) -> None:
    backend.hold = asyncio.Event()
    for deadline_ms in DEADLINES_MS:
        reply = caller.predict(document(WATER, deadline_ms=deadline_ms))
        assert reply.status_code == 504
        assert reply.json()["code"] == "deadline"
        if backend.reached.is_set():
            break
    assert backend.cancelled


def test_a_deadline_counts_from_the_arrival(caller: AsgiCaller, backend: SpringBackend) -> None:
    assert caller.predict(document(WATER, deadline_ms=60_000)).status_code == 200
    _, _, deadline_s = backend.calls[0]
    assert deadline_s is not None
    assert 0 < deadline_s < 60
    passed = caller.predict(document(WATER, deadline_ms=1e-6))
    assert passed.status_code == 504
    assert len(backend.calls) == 1


def test_a_priority_reaches_the_queue(caller: AsgiCaller, backend: SpringBackend) -> None:
    for asked in ({}, {"priority": "bulk"}, {"priority": "interactive"}):
        assert caller.predict(document(WATER, **asked)).status_code == 200
    assert backend.priorities == ["interactive", "bulk", "interactive"]


def test_a_deadline_does_not_matter_where_nothing_is_computed(caller: AsgiCaller) -> None:
    assert caller.predict(document(COINCIDENT, deadline_ms=1e-6)).status_code == 200


def test_a_caller_that_leaves_cancels_the_work(
    app: FastAPI, caller: AsgiCaller, backend: SpringBackend
) -> None:
    backend.hold = asyncio.Event()
    sent: list[Message] = []

    async def leave() -> None:
        body = caller.client.build_request("POST", "/v1/predict", json=document(WATER))
        gone = asyncio.Event()
        messages = [{"type": "http.request", "body": body.content, "more_body": False}]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/v1/predict",
            "root_path": "",
            "query_string": b"",
            "headers": [(name.lower(), value) for name, value in body.headers.raw],
        }
        request = asyncio.create_task(app(scope, receive, send))
        async with asyncio.timeout(PATIENCE_S):
            await backend.reached.wait()
            gone.set()
            await request

    caller.run(leave())
    assert backend.cancelled
    assert sent == []


def test_a_stopped_server_cancels_the_work(caller: AsgiCaller, backend: SpringBackend) -> None:
    backend.hold = asyncio.Event()

    async def stop() -> None:
        request = asyncio.create_task(caller.client.post("/v1/predict", json=document(WATER)))
        async with asyncio.timeout(PATIENCE_S):
            await backend.reached.wait()
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request

    caller.run(stop())
    assert backend.cancelled
