"""Clients that never finish asking."""

import contextlib
import select
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

BEGINNINGS = (b"", b"P", b"POST /v1/predict HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
"""How far they get, in turn."""
DRIP_S = 0.1


@contextlib.contextmanager
def half_open_connections(url: str, n_connections: int) -> Iterator[list[socket.socket]]:
    """Open connections that send the beginning of a request at most."""
    with contextlib.ExitStack() as stack:
        opened = []
        for index in range(n_connections):
            connection = stack.enter_context(connect(url))
            connection.sendall(BEGINNINGS[index % len(BEGINNINGS)])
            opened.append(connection)
        yield opened


def connect(url: str) -> socket.socket:
    """Open a connection to a service."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return socket.create_connection((parts.hostname, parts.port), timeout=10.0)


def all_closed_after(connections: list[socket.socket], *, deadline_s: float) -> float:
    """Drip a byte into some of them now and then until the service has closed all.

    Args:
        connections: As ``half_open_connections`` gives them.
        deadline_s: How long to wait.

    Returns:
        Seconds until the last was closed.
    """
    started = time.monotonic()
    left = list(connections)
    while left:
        elapsed = time.monotonic() - started
        if elapsed > deadline_s:
            raise AssertionError(f"{len(left)} connections are open after {elapsed:.1f} s")
        readable, _, _ = select.select(left, [], [], DRIP_S)
        left = [each for each in left if each not in readable or not _is_closed(each)]
        for each in left[:: len(BEGINNINGS) - 1]:
            with contextlib.suppress(OSError):
                each.sendall(b"a")
    return time.monotonic() - started


def _is_closed(connection: socket.socket) -> bool:
    """Whether the service has hung up; what it says before that is read."""
    try:
        return connection.recv(4096) == b""
    except ConnectionResetError:
        return True
