"""The client's WebSocket against an independent implementation of the protocol."""

import base64
import contextlib
import hashlib
import re
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from posterion_client.md._connection import Endpoint
from posterion_client.md._websocket import ClosedError, UpgradeRefusedError, masked, opened

PROTOCOL = "posterion.session.v1"


@contextlib.contextmanager
def serving(handler: Callable[[ServerConnection], None]) -> Iterator[Endpoint]:
    with serve(handler, "127.0.0.1", 0, subprotocols=[PROTOCOL], compression=None) as server:  # type: ignore[list-item] # a string is a Subprotocol
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        port = server.socket.getsockname()[1]
        yield Endpoint(url=f"http://127.0.0.1:{port}", headers={}, timeout_s=10.0)
        server.shutdown()
        thread.join(10)


def echo(connection: ServerConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        for message in connection:
            connection.send(message)


@given(payload=st.binary(max_size=300), mask=st.binary(min_size=4, max_size=4))
def test_masking_twice_gives_the_payload_back(payload: bytes, mask: bytes) -> None:
    once = masked(payload, mask)
    assert once == bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    assert masked(once, mask) == payload


def test_messages_of_every_length_come_back() -> None:
    with serving(echo) as endpoint:
        client = opened(endpoint, "/v1/session", subprotocol=PROTOCOL)
        for length in (0, 1, 125, 126, 127, 65_535, 65_536, 1_000_003):
            message = bytes(range(256)) * (length // 256 + 1)
            client.send(message[:length])
            assert client.receive() == message[:length]
        client.send("grüße")
        assert client.receive() == "grüße"
        client.close()


def test_pings_are_answered_and_parts_are_joined() -> None:
    answered = threading.Event()

    def handler(connection: ServerConnection) -> None:
        pong = connection.ping()
        connection.send([b"one ", b"two ", b"three"])
        if pong.wait(10):
            answered.set()
        connection.send(b"last")

    with serving(handler) as endpoint:
        with contextlib.closing(opened(endpoint, "/", subprotocol=PROTOCOL)) as client:
            assert client.receive() == b"one two three"
            assert client.receive() == b"last"
        assert answered.is_set()


def test_what_comes_with_the_handshake_is_not_lost() -> None:
    """One segment may hold the answer to the handshake and the first frames behind it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                asked = connection.recv(1 << 16).decode()
                key = re.search(r"Sec-WebSocket-Key: (\S+)", asked)
                assert key is not None
                salted = key[1].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
                proof = base64.b64encode(hashlib.sha1(salted).digest())  # noqa: S324
                head = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: "
                connection.sendall(head + proof + b"\r\n\r\n" + b"\x82\x03abc")
                connection.recv(1 << 16)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        endpoint = Endpoint(url=f"http://127.0.0.1:{port}", headers={}, timeout_s=10.0)
        with contextlib.closing(opened(endpoint, "/", subprotocol=PROTOCOL)) as found:
            assert found.receive() == b"abc"
        thread.join(10)


def test_a_close_says_its_code_and_reason() -> None:
    def handler(connection: ServerConnection) -> None:
        connection.close(4412, "version-moved")

    with serving(handler) as endpoint:
        with (
            contextlib.closing(opened(endpoint, "/", subprotocol=PROTOCOL)) as client,
            pytest.raises(ClosedError, match="4412 version-moved") as caught,
        ):
            client.receive()
        assert caught.value.code == 4412


def test_what_speaks_no_websocket_is_named() -> None:
    with serving(echo) as endpoint:
        with pytest.raises(UpgradeRefusedError) as caught:
            opened(endpoint, "/", subprotocol="something.else")
        assert caught.value.answer.status == 400
