"""Jobs for the compiled drivers of clients/c, and servers that answer them badly."""

import asyncio
import base64
import contextlib
import hashlib
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posterion.api.backend import PredictReply
from posterion_client.md import Transport
from posterion_client.selftest import Job, Service
from posterion_client.selftest._driver import run_driver
from tests.support.fake_backend import MODEL, STABLE, SpringBackend

_SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass
class SlowSprings(SpringBackend):
    """Springs that take some milliseconds, so that a run outlives the service it began with."""

    async def predict(self, *asked: Any, **how: Any) -> PredictReply:  # noqa: ANN401 - handed on
        await asyncio.sleep(0.003)
        return await super().predict(*asked, **how)


def spring_job(
    url: str,
    *,
    n_steps: int = 0,
    numbers: Sequence[int] = (8, 1, 6),
    model: str = MODEL,
    digest: str = STABLE,
) -> Job:
    """A job about atoms on springs, in a triclinic cell.

    Args:
        url: Of the service.
        n_steps: Steps of 1e-3 fs: all springs rest in one place, where atoms would meet.
        numbers: Atomic numbers of three atoms.
        model: Which model.
        digest: Sample set that must answer.
    """
    return Job(
        numbers=np.array(numbers),
        positions=np.array([[0.0, 0.1, -0.2], [1.5, 0.2, 0.3], [0.1, 1.7, 0.5]]),
        velocities=np.array([[0.01, 0.0, 0.0], [0.0, -0.01, 0.02], [0.0, 0.03, 0.0]]),
        masses=np.array([15.999, 1.008, 12.011]),
        cell=np.array([[8.0, 0.0, 0.0], [1.0, 7.0, 0.0], [-0.5, 0.3, 9.0]]),
        timestep_fs=1e-3,
        n_steps=n_steps,
        service=Service(url=url, model=model, digest=digest, precision="float64"),
    )


@contextlib.contextmanager
def answering(content: bytes, *, upgrades: bool) -> Iterator[str]:
    """The address of a server that says the same to everyone, then hangs up.

    Args:
        content: What it sends.
        upgrades: Whether it agrees to a WebSocket first.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer, args=(listener, content, upgrades), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10.0)


def _answer(listener: socket.socket, content: bytes, upgrades: bool) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, contextlib.suppress(OSError):
            connection.settimeout(5.0)
            asked = _read_head(connection)
            if upgrades and b"sec-websocket-key" in asked.lower():
                connection.sendall(_handshake(asked))
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):  # or the kernel would reset what was not read yet
                pass


def _read_head(connection: socket.socket) -> bytes:
    asked = b""
    while b"\r\n\r\n" not in asked:
        more = connection.recv(1 << 16)
        if not more:
            break
        asked += more
    return asked


def _handshake(asked: bytes) -> bytes:
    lines = [line for line in asked.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")]
    key = lines[0].partition(b":")[2].strip()
    proof = base64.b64encode(hashlib.sha1(key + _SALT).digest())  # noqa: S324 - of RFC 6455
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Protocol: posterion.session.v1\r\n"
        b"Sec-WebSocket-Accept: " + proof + b"\r\n\r\n"
    )


def run_failing(
    program: Path, job: Job, *, transport: Transport = "auto", retry_s: float = 0.0
) -> str:
    """The one line that a driver ends with.

    Args:
        program: The driver.
        job: What it cannot do.
        transport: How it asks.
        retry_s: How long it tries.
    """
    with pytest.raises(RuntimeError) as failure:
        run_driver(program, job, retry_s=retry_s, transport=transport)
    said = str(failure.value)
    status, *lines = (line for line in said.splitlines() if line != "STOP 1")
    assert status.endswith(" ended with 1"), said
    assert len(lines) == 1, said
    assert lines[0].startswith("selftest: "), said
    return lines[0].removeprefix("selftest: ")
