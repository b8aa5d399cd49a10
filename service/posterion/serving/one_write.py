"""How the beginning of a reply and its body leave as one piece.

Uvicorn writes them apart and its event loop sends each at once: two packets, and a client that
is woken twice.
"""

import asyncio
from typing import Final

LARGEST: Final = 1 << 16
"""Bytes of a body that are worth copying to save a packet."""


class OneWrite:
    """Stands in for the transport of a connection where uvicorn writes a reply.

    The beginning waits for the body, or until the event loop turns to something else: a reply
    whose body takes its time, or has none, begins as early as the loop allows.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """Hold nothing yet.

        Args:
            transport: Of the connection.
            loop: Its event loop.
        """
        self._transport = transport
        self._loop = loop
        self._held: bytes | None = None
        self._release: asyncio.Handle | None = None

    def write(self, data: bytes) -> None:
        """Send what is held together with this, or hold this if it begins a reply."""
        if self._held is not None and len(data) <= LARGEST:
            self._send(self._held + data)
        elif self._held is not None:
            self._send(self._held)
            self._transport.write(data)
        elif data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 100"):
            self._held = data
            self._release = self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Send what is held, and close the connection."""
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether the connection is closing."""
        return self._transport.is_closing()

    def _flush(self) -> None:
        if self._held is not None:
            self._send(self._held)

    def _send(self, data: bytes) -> None:
        self._held = None
        if self._release is not None:
            self._release.cancel()
            self._release = None
        if not self._transport.is_closing():
            self._transport.write(data)
