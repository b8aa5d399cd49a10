"""How work stops when the caller has left."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

Result = TypeVar("Result")


async def run_while_connected(work: Coroutine[Any, Any, Result], receive: Receive) -> Result:
    """Await some work, and cancel it as soon as the caller disconnects.

    Args:
        work: What to await.
        receive: The ASGI ``receive`` of a request whose body has been read.

    Returns:
        The result of ``work``.

    Raises:
        ClientDisconnect: If the caller left first.
    """
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(_disconnection(receive))
    try:
        await asyncio.wait((task, watcher), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        watcher.cancel()
        await asyncio.gather(task, watcher, return_exceptions=True)


async def _disconnection(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
