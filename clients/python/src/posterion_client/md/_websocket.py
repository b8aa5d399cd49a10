"""A WebSocket connection (RFC 6455) for one question and one answer at a time.

Extensions are not asked for: positions are noise to a compressor. Pings are answered while a
reply is awaited.
"""

import base64
import hashlib
import os
import socket
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np

from posterion_client._answer import Answer
from posterion_client._errors import InvalidReply
from posterion_client._refusals import error_of_answer
from posterion_client._user_agent import USER_AGENT
from posterion_client.md._connection import Endpoint
from posterion_client.md._http import LONGEST_HEAD, Answers, is_number, request_head

_ACCEPT_SALT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_FINAL: Final = 0x80
_LONGEST_MESSAGE: Final = 1 << 31
_NO_CODE: Final = 1005
_SAME_FOR_REQUESTS: Final = frozenset({401, 429})
"""Statuses that a request would get as well; 403 is also what servers say that know no session."""


class ClosedError(ConnectionError):
    """The service closed the connection.

    Attributes:
        code: Its close code; 1005 where it gave none.
    """

    def __init__(self, code: int, reason: str) -> None:
        """Keep the code."""
        super().__init__(f"the service closed the session ({code} {reason})".rstrip())
        self.code = code


class UpgradeRefusedError(Exception):
    """Something on the way does not speak WebSocket: requests may still pass.

    Attributes:
        answer: What it said instead.
    """

    def __init__(self, answer: Answer) -> None:
        """Keep the answer."""
        super().__init__(f"{answer.url} answered {answer.status} to a WebSocket's handshake")
        self.answer = answer


@dataclass(slots=True)
class WebSocket:
    """An open WebSocket; see `opened`."""

    _socket: socket.socket
    _held: bytes = b""
    _read_to: int = 0

    def send(self, message: str | bytes) -> None:
        """Send a message: a string as text, bytes as binary.

        Raises:
            OSError: If the connection is cut.
        """
        if isinstance(message, str):
            self._send(_TEXT, message.encode())
        else:
            self._send(_BINARY, message)

    def receive(self) -> str | bytes:
        """The next message.

        Raises:
            ClosedError: If the service closed the connection.
            OSError: If the connection is cut or silent for too long.
            InvalidReply: If what comes is no WebSocket frame.
        """
        kind, parts = 0, list[bytes]()
        while True:
            opcode, final, payload = self._frame()
            if opcode == _PING:
                self._send(_PONG, payload)
            elif opcode == _CLOSE:
                raise self._closed(payload)
            elif opcode != _PONG:
                kind = opcode or kind
                parts.append(payload)
                if final:
                    whole = parts[0] if len(parts) == 1 else b"".join(parts)
                    return whole.decode() if kind == _TEXT else whole

    def close(self) -> None:
        """Say goodbye and hang up, without waiting for an answer."""
        try:
            self._send(_CLOSE, struct.pack("!H", 1000))
        except OSError:
            pass
        finally:
            self._socket.close()

    def _closed(self, payload: bytes) -> ClosedError:
        code = struct.unpack_from("!H", payload)[0] if len(payload) > 1 else _NO_CODE
        return ClosedError(code, payload[2:].decode(errors="replace"))

    def _send(self, opcode: int, payload: bytes) -> None:
        length = len(payload)
        if length < 126:
            head = struct.pack("!BB", _FINAL | opcode, 0x80 | length)
        elif length < 1 << 16:
            head = struct.pack("!BBH", _FINAL | opcode, 0x80 | 126, length)
        else:
            head = struct.pack("!BBQ", _FINAL | opcode, 0x80 | 127, length)
        mask = os.urandom(4)
        self._socket.sendall(head + mask + masked(payload, mask))

    def _frame(self) -> tuple[int, bool, bytes]:
        first, second = self._read(2)
        length = second & 0x7F
        if first & 0x70 or second & 0x80:
            raise InvalidReply("the service sent a WebSocket frame that was not negotiated")
        if length == 126:
            (length,) = struct.unpack("!H", self._read(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._read(8))
        if length > _LONGEST_MESSAGE:
            raise InvalidReply(f"the service announced a message of {length} bytes")
        return first & 0x0F, bool(first & _FINAL), self._read(length)

    def _read(self, length: int) -> bytes:
        """Exactly so many bytes; what arrives beyond them is kept for the next call."""
        first, last = self._read_to, self._read_to + length
        if len(self._held) < last:
            self._fetch(length)
            first, last = 0, length
        self._read_to = last
        return self._held[first:last]

    def _fetch(self, length: int) -> None:
        """Hold at least so many bytes that are not read yet, and none that are."""
        parts = [self._held[self._read_to :]]
        missing = length - len(parts[0])
        while missing > 0:
            chunk = self._socket.recv(1 << 18)
            if not chunk:
                raise ConnectionError("cut before the answer was complete")
            parts.append(chunk)
            missing -= len(chunk)
        self._held = b"".join(parts)
        self._read_to = 0


def masked(payload: bytes, mask: bytes) -> bytes:
    """A payload as a client must send it: every four bytes XOR the mask.

    Args:
        payload: The bytes, in clear or masked.
        mask: Four bytes.
    """
    words = np.frombuffer(payload + bytes(-len(payload) % 4), np.uint32)
    return (words ^ np.frombuffer(mask, np.uint32)).tobytes()[: len(payload)]


def opened(endpoint: Endpoint, route: str, *, subprotocol: str) -> WebSocket:
    """Connect and upgrade.

    Args:
        endpoint: Where the service is.
        route: Of the API.
        subprotocol: Which the service must agree to.

    Raises:
        UpgradeRefusedError: If the answer is not a WebSocket's.
        PosterionError: If it is an error that has a name.
        OSError: If there is no connection.
    """
    connection = endpoint.connected()
    try:
        beyond = _upgrade(connection, endpoint, endpoint.path(route), subprotocol)
    except BaseException:
        connection.close()
        raise
    return WebSocket(connection, beyond)


def _upgrade(connection: socket.socket, endpoint: Endpoint, path: str, subprotocol: str) -> bytes:
    """Shake hands; what came behind the answer belongs to the WebSocket."""
    key = base64.b64encode(os.urandom(16))
    fields = {
        "Host": endpoint.authority,
        "User-Agent": USER_AGENT,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": key.decode(),
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": subprotocol,
        **endpoint.headers,
    }
    connection.sendall(request_head("GET", path, fields))
    answer, beyond = _answer(connection, f"{endpoint.url}{path}")
    if answer.status != 101:
        refused = error_of_answer(answer)
        if refused is not None and (answer.status >= 500 or answer.status in _SAME_FOR_REQUESTS):
            raise refused
        raise UpgradeRefusedError(answer)
    proof = base64.b64encode(hashlib.sha1(key + _ACCEPT_SALT).digest()).decode()  # noqa: S324
    if answer.headers.get("sec-websocket-accept") != proof:
        raise UpgradeRefusedError(answer)
    return beyond


def _answer(connection: socket.socket, url: str) -> tuple[Answer, bytes]:
    """Read an answer's head, and its body unless it is the beginning of a WebSocket."""
    answers = Answers(connection)
    head = answers.head()
    body = beyond = b""
    if head.status == 101:
        beyond = answers.beyond
    else:
        length = head.headers.get("content-length", "0")
        body = answers.exactly(min(int(length) if is_number(length) else 0, LONGEST_HEAD))
    return Answer(url=url, status=head.status, headers=head.headers, content=body), beyond
