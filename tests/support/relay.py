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
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

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
        serving = asyncio.start_server(self._served, "127.0.0.1", 0)
        server = asyncio.run_coroutine_threadsafe(serving, self._loop).result(_PATIENCE_S)
        self._port = server.sockets[0].getsockname()[1]

    def end(self) -> None:
        """Listen no more."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE_S)

    async def _served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        there = asyncio.ensure_future(self._passed(reader, there_writer, counted=True))
        back = asyncio.ensure_future(self._passed(there_reader, writer, counted=False))
        await asyncio.wait((there, back))

    async def _passed(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, counted: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while content := await source.read(_CHUNK):
                if counted:
                    await self._counted(len(content))
                sink.write(content)
                await sink.drain()
        sink.close()

    async def _counted(self, n_bytes: int) -> None:
        self.n_sent += n_bytes
        if self._held_after is not None and self.n_sent > self._held_after:
            self._open.clear()
        await self._open.wait()


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
