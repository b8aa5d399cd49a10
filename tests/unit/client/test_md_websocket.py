"""The client's WebSocket against an independent implementation of the protocol."""

import contextlib
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
        socket = opened(endpoint, "/v1/session", subprotocol=PROTOCOL)
        for length in (0, 1, 125, 126, 127, 65_535, 65_536, 1_000_003):
            message = bytes(range(256)) * (length // 256 + 1)
            socket.send(message[:length])
            assert socket.receive() == message[:length]
        socket.send("grüße")
        assert socket.receive() == "grüße"
        socket.close()


def test_pings_are_answered_and_parts_are_joined() -> None:
    answered = threading.Event()

    def handler(connection: ServerConnection) -> None:
        pong = connection.ping()
        connection.send([b"one ", b"two ", b"three"])
        if pong.wait(10):
            answered.set()
        connection.send(b"last")

    with serving(handler) as endpoint:
        with contextlib.closing(opened(endpoint, "/", subprotocol=PROTOCOL)) as socket:
            assert socket.receive() == b"one two three"
            assert socket.receive() == b"last"
        assert answered.is_set()


def test_a_close_says_its_code_and_reason() -> None:
    def handler(connection: ServerConnection) -> None:
        connection.close(4412, "version-moved")

    with serving(handler) as endpoint:
        with (
            contextlib.closing(opened(endpoint, "/", subprotocol=PROTOCOL)) as socket,
            pytest.raises(ClosedError, match="4412 version-moved") as caught,
        ):
            socket.receive()
        assert caught.value.code == 4412


def test_what_speaks_no_websocket_is_named() -> None:
    with serving(echo) as endpoint:
        with pytest.raises(UpgradeRefusedError) as caught:
            opened(endpoint, "/", subprotocol="something.else")
        assert caught.value.answer.status == 400
