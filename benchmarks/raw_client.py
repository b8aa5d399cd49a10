"""The least that a client can do: one kept connection, one write and one read per request."""

import socket
from collections.abc import Mapping
from typing import Final

_CHUNK: Final = 1 << 20
_TIMEOUT_S: Final = 30.0


def request_bytes(path: str, body: bytes, *, port: int, headers: Mapping[str, str]) -> bytes:
    """Write a POST request to loopback, headers and body together.

    Args:
        path: Path of the route.
        body: The body.
        port: Of the service.
        headers: Further headers.
    """
    fields = {"host": f"127.0.0.1:{port}", "content-length": str(len(body)), **headers}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


class RawConnection:
    """A kept HTTP/1.1 connection; see `connected`."""

    def __init__(self, port: int) -> None:
        """Connect.

        Args:
            port: Of the service.
        """
        self._port = port
        self._socket = connected(port)

    def exchange(self, request: bytes) -> bytes:
        """Send a request and read its reply.

        Args:
            request: From `request_bytes`.

        Returns:
            The body of the reply.

        Raises:
            RuntimeError: If the status is not 200, or no length is declared.
            ConnectionError: If the service hangs up.
        """
        try:
            self._socket.sendall(request)
            received = bytearray(self._more())
        except ConnectionError:
            # Kept connections may be closed at any time, e.g. when HAProxy hears of a replica.
            self._socket = connected(self._port)
            self._socket.sendall(request)
            received = bytearray(self._more())
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._more()
        status, *lines = bytes(received[:end]).lower().split(b"\r\n")
        fields = dict(line.split(b": ", 1) for line in lines)
        if b" 200" not in status or b"content-length" not in fields:
            raise RuntimeError(f"expected 200 and a length, got {bytes(received[:2000])!r}")
        length = end + 4 + int(fields[b"content-length"])
        while len(received) < length:
            received += self._more()
        return bytes(received[end + 4 :])

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _more(self) -> bytes:
        chunk = self._socket.recv(_CHUNK)
        if not chunk:
            raise ConnectionError("the service hung up before its reply was complete")
        return chunk


def connected(port: int) -> socket.socket:
    """Connect to a service on loopback, without Nagle's algorithm."""
    found = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found
