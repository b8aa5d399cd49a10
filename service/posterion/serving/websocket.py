"""The WebSocket protocol of the single process: uvicorn's, ended by the application."""

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class SessionProtocol(WebSocketsSansIOProtocol):
    """Uvicorn's protocol without its way to shut down.

    Uvicorn closes every WebSocket at once, with a step on the device. Here the backend has told
    the sessions to end by then; each answers its step first. Uvicorn waits for them as it waits
    for requests, and cancels them after the same time.
    """

    def shutdown(self) -> None:
        """Leave an open session to end by itself."""
        if not self.handshake_complete or self.close_sent:
            super().shutdown()
