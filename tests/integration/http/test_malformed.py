"""A thousand connections that no client should make, and a service that still answers.

The routes are tested against malformed documents without a socket; here the bytes of whole
HTTP requests are damaged, and bodies go through the real parser, limits and event loop.
"""

import gzip
import re
import socket
from collections import Counter
from urllib.parse import urlsplit

import msgpack
import numpy as np
import orjson
import pytest

from posterion_client import Client, Structure
from tests.support.banks import NUMBERS, POSITIONS
from tests.support.services import Service

N_REQUESTS = 1000
PATIENCE_S = 30.0
JSON, MSGPACK = "application/json", "application/vnd.msgpack"
STATUS_LINE = re.compile(rb"^HTTP/1\.1 (\d{3}) ", re.MULTILINE)
DOCUMENT = {"structures": [{"numbers": [8, 1], "positions": [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]}]}
FRAGMENTS = [
    b"NaN", b"1e999", b"-", b"\r\n", b"\r\n\r\n", b"\x00", b"\xff\xfe", b" ", b":", b"[", b"}",
    b"Content-Length: 99\r\n", b"Content-Length: -1\r\n", b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
    b"Content-Encoding: gzip\r\n", b"Expect: 100-continue\r\n", b"HTTP/9.9", b"%00", b"..",
    b"ffffffffffffffff\r\n", b"0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
]  # fmt: skip


def request(body: bytes, content_type: str) -> bytes:
    """A whole request that closes its connection."""
    head = (
        "POST /v1/predict HTTP/1.1\r\nHost: posterion\r\nConnection: close\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """The same bytes with some replaced, removed, repeated or cut off."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        start = int(rng.integers(0, len(changed) + 1))
        stop = min(len(changed), start + int(rng.integers(0, 12)))
        pick = int(rng.integers(0, len(FRAGMENTS) + 4))
        insert = FRAGMENTS[pick] if pick < len(FRAGMENTS) else rng.bytes(int(rng.integers(1, 8)))
        changed[start:stop] = insert
    return bytes(changed[: int(rng.integers(1, len(changed)))] if rng.random() < 0.2 else changed)


def exchange(address: tuple[str, int], data: bytes, *, hang_up: bool) -> list[int]:
    """Send bytes on a connection of their own; the statuses of all replies.

    Args:
        address: Of the service.
        data: What is sent.
        hang_up: Whether to say that nothing more will come, so that no side waits for it.
    """
    received = b""
    with socket.create_connection(address, timeout=PATIENCE_S) as connection:
        try:
            connection.sendall(data)
            if hang_up:
                connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                received += part
        except (ConnectionResetError, BrokenPipeError):
            pass  # it hung up on us, as it may
    return [int(status) for status in STATUS_LINE.findall(received)]


def test_a_thousand_damaged_requests_give_no_500(service: Service) -> None:
    parts = urlsplit(service.url)
    address = (str(parts.hostname), int(parts.port or 0))
    rng = np.random.default_rng(0)
    bodies = [(orjson.dumps(DOCUMENT), JSON), (msgpack.packb(DOCUMENT), MSGPACK)]
    statuses: Counter[int] = Counter()
    for index in range(N_REQUESTS // 2):
        body, content_type = bodies[index % 2]
        data = request(damaged(body, rng), content_type)
        found = exchange(address, data, hang_up=False)
        assert len(found) == 1, data
        assert found[0] < 500, data
        statuses.update(found)
        data = damaged(request(body, content_type), rng)
        found = exchange(address, data, hang_up=True)
        assert max(found, default=0) < 500, data
        statuses.update(found)
    assert statuses.keys() >= {200, 400, 422}, statuses
    still_answers(service)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", JSON, 400),
        (b"[" * 100_000, JSON, 400),
        (b"\x91" * 100_000, MSGPACK, 400),
        (orjson.dumps(DOCUMENT)[:-7], JSON, 400),
        (msgpack.packb(DOCUMENT)[:-7], MSGPACK, 400),
        (orjson.dumps(DOCUMENT).replace(b"1.0", b"NaN"), JSON, 400),
        (orjson.dumps(DOCUMENT).replace(b"1.0", b"1e999"), JSON, 400),
        (gzip.compress(bytes(50_000_000)), JSON, 400),
        (orjson.dumps({"structures": []}), JSON, 422),
        (orjson.dumps({**DOCUMENT, "n_samples": "all"}), JSON, 422),
        (orjson.dumps({"structures": DOCUMENT["structures"] * 1025}), JSON, 413),
        (bytes(33 * 1024 * 1024), MSGPACK, 413),
    ],
    ids=[
        "nothing", "nested-json", "nested-msgpack", "cut-json", "cut-msgpack", "nan", "1e999",
        "gzip-bomb", "no-structures", "wrong-type", "too-many", "too-long",
    ],
)  # fmt: skip
def test_a_body_that_is_wrong_as_a_whole_is_a_problem(
    service: Service, body: bytes, content_type: str, status: int
) -> None:
    with service.client() as http:
        reply = http.post("/v1/predict", content=body, headers={"Content-Type": content_type})
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["status"] == status


@pytest.mark.parametrize(
    "structure",
    [
        {"numbers": [], "positions": []},
        {"numbers": [1], "positions": [[float("nan"), 0.0, 0.0]]},
        {"numbers": [1], "positions": [[0.0, 0.0]]},
        {"numbers": [1] * 1_000_000, "positions": [[0.0, 0.0, 0.0]]},
        {"numbers": [1], "positions": [[0.0, 0.0, 0.0]], "pbc": [True, True, True]},
        {"numbers": [1], "positions": {"dtype": "<f8", "shape": [0, 2**63], "data": b""}},
        {
            "numbers": {"dtype": "<i8", "shape": [0, 2**62], "data": b""},
            "positions": [[0.0, 0.0, 0.0]],
        },
    ],
    ids=[
        "no-atoms", "nan", "flat", "a-million-atoms", "no-cell", "boundless-positions",
        "boundless-numbers",
    ],
)  # fmt: skip
def test_a_structure_that_is_wrong_is_an_error_of_its_own(
    service: Service, structure: dict[str, object]
) -> None:
    body = msgpack.packb({"structures": [structure, *DOCUMENT["structures"]]})
    with service.client() as http:
        reply = http.post(
            "/v1/predict", content=body, headers={"Content-Type": MSGPACK, "Accept": JSON}
        )
    document = reply.json()
    assert reply.status_code == 200, reply.text
    assert [result["status"] == "error" for result in document["results"]] == [True, False]
    still_answers(service)


def still_answers(service: Service) -> None:
    """A prediction succeeds."""
    with Client(service.url) as client:
        prediction = client.predict(Structure(numbers=NUMBERS, positions=POSITIONS))
    assert np.isfinite(prediction.forces).all()
