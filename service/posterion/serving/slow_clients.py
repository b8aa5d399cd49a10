"""How long a client may take to say what it wants, where uvicorn faces it directly.

Uvicorn waits for the headers of a request as long as it takes, and keeps headers of any
length. Here both end: a connection whose headers are not complete in time, or are too long,
is closed. Bodies are the API's business, idle connections are uvicorn's.
"""

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from posterion.serving.one_write import OneWrite

MAX_HEADER_BYTES = 65_536


class PunctualProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP/1.1 protocol with a limit on headers; make one with ``punctual``.

    The clock runs while no reply is owed and bytes have come, or none ever did: so also for
    the rest of a body whose request was refused early. Only complete headers stop it.

    Attributes:
        header_timeout_s: Seconds until complete headers, from the connection, or from the
            first byte after a reply.
    """

    header_timeout_s: ClassVar[float]

    _timer: asyncio.TimerHandle | None = None
    _n_header_bytes: int = 0
    _in_body: bool = False
    _upgraded: bool = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._one_write = OneWrite(transport, self.loop)
        self._start_clock()

    def data_received(self, data: bytes) -> None:
        """Take bytes, and see whether they bring a request nearer."""
        last_request, was_in_body = self.cycle, self._in_body
        super().data_received(data)
        if self._upgraded:
            return
        if self.cycle is last_request and not was_in_body:
            self._n_header_bytes += len(data)
            if self._n_header_bytes > MAX_HEADER_BYTES:
                self._hang_up()
        if not self._owes_a_reply():
            self._start_clock()

    def on_headers_complete(self) -> None:
        """Stop the clock; the request begins."""
        self._stop_clock()
        self._n_header_bytes = 0
        self._in_body = True
        super().on_headers_complete()
        if self.cycle is not None:
            # All that it does with the transport is to write a reply, and to close.
            self.cycle.transport = self._one_write  # type: ignore[assignment]

    def on_message_complete(self) -> None:
        """Note that headers may follow."""
        self._in_body = False
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over; the clock is for headers."""
        super().handle_websocket_upgrade()
        self._upgraded = True
        self._stop_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def _owes_a_reply(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _start_clock(self) -> None:
        if self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(self.header_timeout_s, self._hang_up)

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hang_up(self) -> None:
        self._stop_clock()
        self.transport.close()


def punctual(header_timeout_s: float) -> type[PunctualProtocol]:
    """Make the protocol that uvicorn is to use.

    Args:
        header_timeout_s: Seconds within which headers must be complete.

    Returns:
        What to pass to uvicorn as ``http``.
    """
    return type("PunctualProtocol", (PunctualProtocol,), {"header_timeout_s": header_timeout_s})
