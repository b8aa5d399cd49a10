"""The beginning of a reply and its body leave together, and nothing is held for long."""

import asyncio

import pytest

from posterion.serving.one_write import LARGEST, OneWrite

BEGINNING = b"HTTP/1.1 200 OK\r\n\r\n"


class Recorder(asyncio.Transport):
    """Keeps what is written, piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.pieces.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def written(*pieces: bytes, turns: bool = False, close: bool = False) -> list[bytes]:
    """What leaves when this is written, with or without a turn of the loop after each piece."""

    async def write() -> list[bytes]:
        transport = Recorder()
        writer = OneWrite(transport, asyncio.get_running_loop())
        for piece in pieces:
            writer.write(piece)
            if turns:
                await asyncio.sleep(0)
        if close:
            writer.close()
            assert writer.is_closing()
        await asyncio.sleep(0)
        return transport.pieces

    return asyncio.run(write())


def test_a_body_that_follows_at_once_leaves_with_its_beginning() -> None:
    assert written(BEGINNING, b"body") == [BEGINNING + b"body"]
    assert written(BEGINNING, b"one", b"two") == [BEGINNING + b"one", b"two"]
    assert written(BEGINNING, b"") == [BEGINNING]


def test_a_beginning_waits_for_one_turn_of_the_loop_at_most() -> None:
    assert written(BEGINNING, b"body", turns=True) == [BEGINNING, b"body"]
    assert written(BEGINNING) == [BEGINNING]


def test_a_large_body_is_not_copied() -> None:
    body = bytes(LARGEST + 1)
    assert written(BEGINNING, body) == [BEGINNING, body]


def test_replies_stay_in_their_order() -> None:
    # The reply to a HEAD has no body; the next may begin within the same turn.
    assert b"".join(written(BEGINNING, BEGINNING, b"body")) == 2 * BEGINNING + b"body"


def test_what_is_held_leaves_before_a_connection_closes() -> None:
    assert written(BEGINNING, close=True) == [BEGINNING]


@pytest.mark.parametrize("piece", [b"HTTP/1.1 100 Continue\r\n\r\n", b"chunk"])
def test_all_else_leaves_at_once(piece: bytes) -> None:
    assert written(piece, BEGINNING, b"body")[0] == piece
