"""A WebSocket whose client has stopped to read is cut, not kept until it reads again."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from posterion.serving import websocket
from posterion.serving.ports import free_ports
from posterion.serving.websocket import SessionProtocol
from tests.support.waiting import until

PATIENCE_S = 0.3
CHUNK = bytes(1_000_000)
SLACK_S = 10.0


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Send without end; ``/patient`` to whom does not read, others until that shows."""
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        try:
            async with asyncio.timeout(None if scope["path"] == "/patient" else PATIENCE_S):
                await send({"type": "websocket.send", "bytes": CHUNK})
        except TimeoutError:
            return


@contextlib.contextmanager
def _serving(ping_s: float | None) -> Iterator[tuple[uvicorn.Server, int]]:
    (port,) = free_ports(1)
    config = uvicorn.Config(
        application,
        port=port,
        ws=SessionProtocol,
        ws_ping_interval=ping_s,
        ws_ping_timeout=ping_s,
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=60,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        yield server, port
    finally:
        server.should_exit = True
        thread.join(SLACK_S)
        server.force_exit = True
        thread.join(SLACK_S)


@contextlib.contextmanager
def _never_read(port: int, path: str) -> Iterator[None]:
    """A session whose client reads nothing."""
    with socket.create_connection(("127.0.0.1", port), timeout=SLACK_S) as client:
        client.sendall(
            f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        yield


@pytest.mark.parametrize(("path", "ping_s"), [("/hasty", None), ("/patient", PATIENCE_S)])
def test_a_client_that_is_given_up_is_cut(path: str, ping_s: float | None) -> None:
    with _serving(ping_s) as (server, port), _never_read(port, path):
        until(lambda: bool(server.server_state.tasks), deadline_s=SLACK_S)
        until(lambda: not server.server_state.connections, deadline_s=SLACK_S)
        until(lambda: not server.server_state.tasks, deadline_s=SLACK_S)


def test_at_a_shutdown_replies_are_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "LAST_READ_S", PATIENCE_S)
    with _serving(None) as (server, port), _never_read(port, "/patient"):
        until(lambda: bool(server.server_state.tasks), deadline_s=SLACK_S)
        server.should_exit = True
        until(lambda: not server.server_state.tasks, deadline_s=SLACK_S)
