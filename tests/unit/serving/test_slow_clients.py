"""Uvicorn with our protocol hangs up on slow clients, and on nobody else."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from posterion.serving.ports import free_ports
from posterion.serving.slow_clients import MAX_HEADER_BYTES, punctual
from tests.support.half_open import all_closed_after, connect, half_open_connections
from tests.support.waiting import until

TIMEOUT_S = 0.5
SLACK_S = 10.0
"""Closing takes a moment more on a busy machine."""
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer ``GET /slow`` late and all else at once, before the body."""
    if scope["path"] == "/slow":
        await asyncio.sleep(3 * TIMEOUT_S)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


@contextlib.contextmanager
def _running(server: uvicorn.Server) -> Iterator[None]:
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        yield
    finally:
        server.should_exit = True
        thread.join(30.0)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server that gives clients half a second."""
    (port,) = free_ports(1)
    config = uvicorn.Config(
        application,
        port=port,
        http=punctual(TIMEOUT_S),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
    )
    with _running(uvicorn.Server(config)):
        yield f"http://127.0.0.1:{port}"


def test_half_open_connections_are_closed_and_the_service_answers_meanwhile(url: str) -> None:
    with half_open_connections(url, 50) as connections:
        assert httpx.get(url, trust_env=False).status_code == 204
        assert all_closed_after(connections, deadline_s=TIMEOUT_S + SLACK_S) > 0.5 * TIMEOUT_S
        assert httpx.get(url, trust_env=False).status_code == 204


def test_a_later_request_on_the_same_connection_is_timed_as_the_first(url: str) -> None:
    with connect(url) as connection:
        connection.sendall(GET)
        assert connection.recv(4096).startswith(b"HTTP/1.1 204")
        connection.sendall(GET[:-2] + b"X: ")
        elapsed = all_closed_after([connection], deadline_s=TIMEOUT_S + SLACK_S)
        assert elapsed > 0.5 * TIMEOUT_S


def test_the_rest_of_a_refused_body_is_not_waited_for(url: str) -> None:
    with connect(url) as connection:
        connection.sendall(POST)
        assert connection.recv(4096).startswith(b"HTTP/1.1 204")
        connection.sendall(bytes(100_000))
        all_closed_after([connection], deadline_s=TIMEOUT_S + SLACK_S)


def test_a_body_that_comes_after_its_reply_does_not_end_the_connection(url: str) -> None:
    with connect(url) as connection:
        connection.sendall(POST)
        assert connection.recv(4096).startswith(b"HTTP/1.1 204")
        connection.sendall(bytes(1_000_000) + GET)
        assert connection.recv(4096).startswith(b"HTTP/1.1 204")


def test_a_late_reply_and_a_quiet_connection_are_not_the_clients_fault(url: str) -> None:
    with connect(url) as connection:
        connection.sendall(GET.replace(b"/", b"/slow", 1))
        assert connection.recv(4096).startswith(b"HTTP/1.1 204")
        # Quiet for longer than headers may take; uvicorn's own limit is a minute here.
        connection.settimeout(2 * TIMEOUT_S)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(10.0)
        connection.sendall(GET)
        assert connection.recv(4096).startswith(b"HTTP/1.1 204")


@pytest.mark.parametrize("before", [b"", GET.replace(b"/", b"/slow", 1)])
def test_headers_without_end_are_cut_off_before_the_time(url: str, before: bytes) -> None:
    with connect(url) as connection:
        connection.sendall(before + GET[:-2] + b"X: ")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            connection.sendall(b"a" * (100 * MAX_HEADER_BYTES))
