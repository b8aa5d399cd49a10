"""How much a request may send, and how long it may take to send it.

Refused while reading: a body that declares or turns out to be too long is never held in
memory, a compressed one never expanded, a slow one never waited for. The time a client may
take for its headers is the HTTP server's to limit; no ASGI application sees them arrive.
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from posterion.api.errors import problem_response
from posterion.api.record import header_of, record_of
from posterion.errors import MalformedBody, PosterionError, TooLarge, UnsupportedMediaType


class BodyLimits:
    """ASGI middleware that bounds the size, the encoding and the duration of bodies."""

    def __init__(self, app: ASGIApp, *, max_bytes: int, timeout_s: float) -> None:
        """Wrap an application.

        Args:
            app: The application.
            max_bytes: Longest body, bytes.
            timeout_s: Seconds from the headers to the last byte of the body.
        """
        self._app = app
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it by its headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await problem_response(refusal, record_of(scope))(scope, receive, send)
            return
        body = _BoundedBody(receive, max_bytes=self._max_bytes, timeout_s=self._timeout_s)
        await self._app(scope, body.receive, send)

    def _refusal(self, scope: Scope) -> PosterionError | None:
        encoding = header_of(scope, b"content-encoding")
        if encoding is not None and encoding.strip().lower() != "identity":
            return UnsupportedMediaType("expected Content-Encoding: identity, or none")
        declared = header_of(scope, b"content-length")
        if declared is None:
            return None
        if not (declared.isascii() and declared.isdecimal()):
            return MalformedBody("expected Content-Length to be a number of bytes")
        digits = declared.lstrip("0")
        if len(digits) > len(str(self._max_bytes)) or int(digits or "0") > self._max_bytes:
            return _too_long(self._max_bytes)
        return None


class _BoundedBody:
    """A ``receive`` that counts the bytes of the body and watches the clock."""

    def __init__(self, receive: Receive, *, max_bytes: int, timeout_s: float) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._deadline = asyncio.get_running_loop().time() + timeout_s
        self._n_bytes = 0
        self._complete = False

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise MalformedBody(
                f"expected the whole body within {self._timeout_s:g} s of the headers"
            ) from None
        if message["type"] == "http.request":
            self._n_bytes += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
            if self._n_bytes > self._max_bytes:
                raise _too_long(self._max_bytes)
        return message


def _too_long(max_bytes: int) -> TooLarge:
    return TooLarge(f"expected a body of at most {max_bytes} bytes")
