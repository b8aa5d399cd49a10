"""The service as one process under uvicorn: for laptops, tests and co-located simulations."""

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import uvicorn

from posterion.api.app import create_app
from posterion.errors import ConfigurationError
from posterion.observability.logging import configure_logging
from posterion.observability.metrics import ServiceMetrics
from posterion.serving.announcement import address, announcement
from posterion.serving.metrics import BatchMetrics
from posterion.serving.served import ServedBackend
from posterion.serving.settings import ServeSettings
from posterion.serving.slow_clients import punctual
from posterion.serving.websocket import SessionProtocol

KEEP_ALIVE_S = 75
GRACE_AFTER_DRAIN_S = 8.0

logger = logging.getLogger(__name__)


class AnnouncedServer(uvicorn.Server):
    """Says where it listens, and turns readiness off with the first signal."""

    def __init__(self, config: uvicorn.Config, backend: ServedBackend, *, url: str) -> None:
        """Wrap one server.

        Args:
            config: What to run.
            backend: What it serves.
            url: Where.
        """
        super().__init__(config)
        self._backend = backend
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Announce the service once it listens."""
        await super().startup(sockets=sockets)
        if self.started:
            text = announcement(
                url=self._url,
                mode="one process (uvicorn)",
                banks=self._backend.describe(),
                ready=self._backend.ready().ok,
            )
            sys.stdout.write(text)
            sys.stdout.flush()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals inside the block; uvicorn's own raises them again afterwards."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Refuse new requests, and bound the time until this process ends."""
        self._backend.refuse_new()
        patience_s = (self.config.timeout_graceful_shutdown or 0) + GRACE_AFTER_DRAIN_S
        timer = threading.Timer(patience_s, _give_up)
        timer.daemon = True
        timer.start()
        super().handle_exit(sig, frame)


def serve_single_process(settings: ServeSettings) -> int:
    """Serve until a signal ends it.

    Args:
        settings: The service.

    Returns:
        Exit status.

    Raises:
        ConfigurationError: If the port cannot be bound.
        StoreError: If there is no such store.
    """
    from posterion.serving.in_process import InProcessBackend  # noqa: PLC0415 - torch

    metrics = ServiceMetrics()
    return serve_backend(
        settings, InProcessBackend(settings, BatchMetrics(metrics.registry)), metrics
    )


def serve_backend(settings: ServeSettings, backend: ServedBackend, metrics: ServiceMetrics) -> int:
    """Serve a backend in this process until a signal ends it.

    Args:
        settings: The service.
        backend: Answers; started and stopped with the service.
        metrics: Where requests are counted.

    Returns:
        Exit status.

    Raises:
        ConfigurationError: If the port cannot be bound.
    """
    configure_logging()
    listener = _listen(settings.host, settings.port)
    url = address(settings.host, listener.getsockname()[1])
    config = uvicorn.Config(
        create_app(settings.api, backend, metrics=metrics),
        http=punctual(settings.header_timeout_s),
        ws=SessionProtocol,
        ws_max_size=settings.api.max_frame_bytes,
        # Positions are noise to a compressor.
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(settings.drain_timeout_s)),
    )
    server = AnnouncedServer(config, backend, url=url)
    with listener:
        server.run(sockets=[listener])
    return 0 if server.started else 1


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host} port {port}: {error}") from error
    # Its connections inherit this. uvloop sets it as well, asyncio's own loop would not.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _give_up() -> None:
    """End a process whose device never came back from its last batch."""
    logger.error("the device did not finish in time")
    logging.shutdown()
    os._exit(1)
