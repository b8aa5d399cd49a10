"""A wire between a client and a service that counts what the client sends, and can be held."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

_CHUNK = 1 << 16
_PATIENCE_S = 10.0


class Relay:
    """Passes bytes on in both directions; see `relayed`.

    Attributes:
        n_sent: Bytes that clients have sent so far.
    """

    def __init__(self, host: str, port: int) -> None:
        self.n_sent = 0
        self._target = (host, port)
        self._port = 0
        self._held_after: int | None = None
        self._begun = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    @property
    def url(self) -> str:
        """Address for the clients."""
        return f"http://127.0.0.1:{self._port}"

    def hold_after(self, n_bytes: int) -> None:
        """Keep back what clients send from so many bytes on, until `release`."""
        self._held_after = n_bytes

    @property
    def holds(self) -> bool:
        """Whether a client waits."""
        return not self._open.is_set()

    def release(self) -> None:
        """Let everything pass again."""
        self._held_after = None
        self._loop.call_soon_threadsafe(self._open.set)

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        assert self._begun.wait(_PATIENCE_S)

    def end(self) -> None:
        """Hang up, and listen no more."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(_PATIENCE_S)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended, self._open = asyncio.Event(), asyncio.Event()
        self._open.set()
        self._wires: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        self._begun.set()
        await self._ended.wait()
        server.close()
        for wire in self._wires:
            wire.cancel()
        await asyncio.gather(*self._wires, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = asyncio.ensure_future(self._wired(reader, writer))
        self._wires.add(wire)

    async def _wired(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(_closed, writer)
            try:
                there_reader, there_writer = await asyncio.open_connection(*self._target)
            except OSError:
                return
            stack.push_async_callback(_closed, there_writer)
            await asyncio.gather(
                self._passed(reader, there_writer, counted=True),
                self._passed(there_reader, writer, counted=False),
            )

    async def _passed(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, counted: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while content := await source.read(_CHUNK):
                if counted:
                    await self._counted(len(content))
                sink.write(content)
                await sink.drain()
        sink.close()  # the other direction ends with it

    async def _counted(self, n_bytes: int) -> None:
        self.n_sent += n_bytes
        if self._held_after is not None and self.n_sent > self._held_after:
            self._open.clear()
        await self._open.wait()


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@contextlib.contextmanager
def relayed(url: str) -> Iterator[Relay]:
    """A relay in front of a service while the body runs.

    Args:
        url: Of the service, ``http://host:port``.
    """
    host, _, port = url.removeprefix("http://").partition(":")
    relay = Relay(host, int(port))
    relay.start()
    try:
        yield relay
    finally:
        relay.end()
