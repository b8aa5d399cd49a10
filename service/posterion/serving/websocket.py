"""The WebSocket protocol of the single process: uvicorn's, ended by the application."""

import asyncio
from typing import Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

LAST_READ_S: Final = 4.0
"""At a shutdown, a client that leaves replies unread is given so long for them."""


class SessionProtocol(WebSocketsSansIOProtocol):
    """Uvicorn's protocol without its way to shut down.

    Uvicorn closes every WebSocket at once, with a step on the device. Here the backend has told
    the sessions to end by then; each answers its step first. Uvicorn waits for them as it waits
    for requests, and cancels them after the same time.

    Uvicorn also closes a connection only when all has been read that was sent on it, which may
    be never. Here one whose client has stopped to read is cut.
    """

    def shutdown(self) -> None:
        """Leave an open session to end by itself."""
        self.loop.call_later(LAST_READ_S, self._cut_unread)
        if not self.handshake_complete or self.close_sent:
            super().shutdown()

    def keepalive_timeout(self) -> None:
        """Give up a client that is silent."""
        super().keepalive_timeout()
        self.transport.abort()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """Give up a client that the session has given up."""
        super().on_task_complete(task)
        if not self.writable.is_set():
            self.transport.abort()

    def _cut_unread(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()
