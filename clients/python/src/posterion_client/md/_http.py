"""HTTP/1.1 on a kept connection, no more of it than the service and what lies before it need.

A request is one write. The standard library's ``http.client`` would read the fields of its
answer as those of an e-mail, which takes longer than all else that a small step costs here.
"""

import socket
from collections.abc import Mapping
from typing import Final, NamedTuple

LONGEST_HEAD: Final = 1 << 16
_CHUNK: Final = 1 << 16
_ONE_WRITE: Final = 1 << 16
_BODILESS: Final = frozenset({204, 304})


class Head(NamedTuple):
    """The beginning of an answer.

    Attributes:
        status: HTTP status.
        headers: Fields by their names in lower case; of repeated ones the last.
        kept: Whether the connection may carry another request.
    """

    status: int
    headers: Mapping[str, str]
    kept: bool


class Exchanged(NamedTuple):
    """An answer.

    Attributes:
        head: Its beginning.
        content: Its body.
    """

    head: Head
    content: bytes


def request_head(method: str, path: str, fields: Mapping[str, str]) -> bytes:
    """Write the beginning of a request.

    Args:
        method: Of the request.
        path: What is asked for, with whatever precedes it in the address.
        fields: The headers.

    Raises:
        ValueError: If a field would end its own line.
    """
    lines = [f"{method} {path} HTTP/1.1", *[f"{name}: {value}" for name, value in fields.items()]]
    text = "\r\n".join([*lines, "", ""])
    if text.count("\n") != len(lines) + 1 or text.count("\r") != len(lines) + 1:
        raise ValueError("a header of the request holds the end of a line")
    return text.encode("latin-1")


def send_request(connection: socket.socket, head: bytes, body: bytes) -> None:
    """Send a request, a small one in one write.

    Args:
        connection: To the service.
        head: From `request_head`.
        body: What follows.

    Raises:
        OSError: If the connection is cut.
    """
    if len(body) <= _ONE_WRITE:
        connection.sendall(head + body)
    else:
        connection.sendall(head)
        connection.sendall(body)


def parsed_head(text: bytes) -> Head:
    """Read the beginning of an answer.

    Args:
        text: Without the empty line that ends it.

    Raises:
        ConnectionError: If it is none.
    """
    line, *rest = text.decode("latin-1").split("\r\n")
    words = line.split(None, 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not is_number(words[1]):
        raise ConnectionError(f"no answer of HTTP: {line[:80]!r}")
    headers: dict[str, str] = {}
    for field in rest:
        name, _, value = field.partition(":")
        headers[name.lower()] = value.strip()
    said = headers.get("connection", "").lower()
    kept = "close" not in said if words[0] != "HTTP/1.0" else "keep-alive" in said
    return Head(int(words[1]), headers, kept)


class Answers:
    """Reads the answers that come over one connection."""

    def __init__(self, connection: socket.socket) -> None:
        """Read nothing yet.

        Args:
            connection: To the service.
        """
        self._connection = connection
        self._beyond = b""

    @property
    def beyond(self) -> bytes:
        """What came behind the last answer."""
        return self._beyond

    def head(self) -> Head:
        """The beginning of the next answer; what only announces one is passed over.

        Raises:
            ConnectionError: If it is none, or has no end.
            OSError: If the connection is cut or silent for too long.
        """
        while True:
            found = parsed_head(self._until(b"\r\n\r\n", LONGEST_HEAD))
            if found.status >= 200 or found.status == 101:
                return found

    def whole(self) -> Exchanged:
        """The next answer, to its end.

        Raises:
            ConnectionError: If it is none, or is cut.
            OSError: If the connection is cut or silent for too long.
        """
        head = self.head()
        length = head.headers.get("content-length")
        if head.status in _BODILESS:
            content = b""
        elif "chunked" in head.headers.get("transfer-encoding", "").lower():
            content = self._chunks()
        elif length is None:
            content, head = self._rest(), head._replace(kept=False)
        elif is_number(length):
            content = self.exactly(int(length))
        else:
            raise ConnectionError("no answer of HTTP: its length is no number")
        # Bytes that nobody asked for would be taken for the next answer.
        return Exchanged(head._replace(kept=head.kept and not self._beyond), content)

    def exactly(self, length: int) -> bytes:
        """So many bytes.

        Args:
            length: How many.

        Raises:
            OSError: If the connection is cut before, or silent for too long.
        """
        parts, held = [self._beyond], len(self._beyond)
        while held < length:
            parts.append(self._more())
            held += len(parts[-1])
        received = parts[0] if len(parts) == 1 else b"".join(parts)
        self._beyond = received[length:]
        return received[:length]

    def _more(self) -> bytes:
        chunk = self._connection.recv(_CHUNK)
        if not chunk:
            raise ConnectionError("cut before the answer was complete")
        return chunk

    def _until(self, mark: bytes, longest: int) -> bytes:
        received = self._beyond
        while (end := received.find(mark)) < 0:
            if len(received) > longest:
                raise ConnectionError("no answer of HTTP: its head has no end")
            received += self._more()
        self._beyond = received[end + len(mark) :]
        return received[:end]

    def _chunks(self) -> bytes:
        parts: list[bytes] = []
        while True:
            size = self._until(b"\r\n", LONGEST_HEAD).partition(b";")[0].strip()
            try:
                length = int(size, 16)
            except ValueError:
                raise ConnectionError("no answer of HTTP: a chunk without a size") from None
            if length <= 0:
                break
            parts.append(self.exactly(length))
            self._until(b"\r\n", LONGEST_HEAD)
        while self._until(b"\r\n", LONGEST_HEAD):
            pass
        return b"".join(parts)

    def _rest(self) -> bytes:
        parts = [self._beyond]
        while chunk := self._connection.recv(_CHUNK):
            parts.append(chunk)
        self._beyond = b""
        return b"".join(parts)


def is_number(text: str) -> bool:
    """Whether a field is a number; latin-1 has digits that are none.

    Args:
        text: Of the field.
    """
    return text.isascii() and text.isdigit()
