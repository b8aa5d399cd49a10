"""A WebSocket of an ASGI application in this process, without a server."""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
from starlette.types import ASGIApp, Message

from tests.support.frames import SUBPROTOCOL

PATIENCE_S = 20.0


class AsgiSession:
    """One connection; use inside a running loop. It holds ``most_unread`` messages, 0 = any."""

    def __init__(
        self,
        app: ASGIApp,
        path: str = "/v1/session",
        *,
        subprotocols: Sequence[str] = (SUBPROTOCOL,),
        most_unread: int = 0,
        **headers: str,
    ) -> None:
        self._sent: asyncio.Queue[Message] = asyncio.Queue()
        self._said: asyncio.Queue[Message] = asyncio.Queue(most_unread)
        scope = {
            "type": "websocket",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "scheme": "ws",
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "subprotocols": list(subprotocols),
        }
        self._sent.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.ensure_future(app(scope, self._sent.get, self._said.put))

    async def said(self) -> Message:
        """The next message of the service."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._said.get()

    async def document(self) -> Any:  # noqa: ANN401 - a document
        """The next message, as a JSON document; the acceptance is passed over."""
        message = await self.said()
        if message["type"] == "websocket.accept":
            message = await self.said()
        return orjson.loads(message["text"])

    async def closed(self) -> int:
        """The code that the service closes with, now."""
        message = await self.said()
        assert message["type"] == "websocket.close", message
        async with asyncio.timeout(PATIENCE_S):
            await self.task
        code: int = message["code"]
        return code

    def say(self, message: object) -> None:
        """Send bytes, a text, or a document as text."""
        if isinstance(message, bytes):
            self._sent.put_nowait({"type": "websocket.receive", "bytes": message})
        else:
            text = message if isinstance(message, str) else orjson.dumps(message).decode()
            self._sent.put_nowait({"type": "websocket.receive", "text": text})

    async def open(self, document: object) -> Any:  # noqa: ANN401 - a document
        """Open the session; what the service says to that."""
        self.say(document)
        return await self.document()

    async def step(self, frame: bytes) -> bytes:
        """The binary reply to a step."""
        self.say(frame)
        message = await self.said()
        assert "bytes" in message, message
        reply: bytes = message["bytes"]
        return reply

    async def leave(self) -> None:
        """Close from the client's side."""
        self._sent.put_nowait({"type": "websocket.disconnect", "code": 1000})
        async with asyncio.timeout(PATIENCE_S):
            await self.task
