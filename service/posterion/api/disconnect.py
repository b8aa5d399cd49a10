"""How a body is read, and how work stops, when the caller may leave."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

LOOK_AFTER_S: Final = 0.005
"""Work that is done sooner is not worth looking for a caller who leaves."""

Result = TypeVar("Result")


async def whole_body(receive: Receive) -> bytes:
    """Read the body of a request.

    Args:
        receive: The ASGI ``receive`` of a request whose body has not been read.

    Returns:
        Its bytes.

    Raises:
        ClientDisconnect: If the caller left before its end.
    """
    parts = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def run_while_connected(work: Coroutine[Any, Any, Result], receive: Receive) -> Result:
    """Await some work, and cancel it when the caller disconnects.

    Args:
        work: What to await.
        receive: The ASGI ``receive`` of a request whose body has been read.

    Returns:
        The result of ``work``.

    Raises:
        ClientDisconnect: If the caller left first.
    """
    # The work runs in this very task; only the watcher is one more, and only where it may matter.
    watchers: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(None) as patience:

            def leave(gone: asyncio.Future[None]) -> None:
                if not gone.cancelled():
                    gone.exception()
                    patience.reschedule(loop.time())

            def look() -> None:
                watchers.append(loop.create_task(_disconnection(receive)))
                watchers[0].add_done_callback(leave)

            timer = loop.call_later(LOOK_AFTER_S, look)
            try:
                return await work
            finally:
                timer.cancel()
                for watcher in watchers:
                    watcher.remove_done_callback(leave)
                    watcher.cancel()
    except TimeoutError:
        if not patience.expired():
            raise
        raise ClientDisconnect from None


async def _disconnection(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
