"""The product's own application over springs, on a real socket of this process.

A client's test needs real HTTP and real WebSockets, and answers it can compute by hand; it
needs no bank, which takes seconds to load.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import uvicorn

from posterion.api.app import create_app
from posterion.api.settings import ApiSettings
from posterion.serving.websocket import SessionProtocol
from tests.support.fake_backend import SpringBackend

_PATIENCE_S = 10.0


@dataclass(slots=True)
class SpringService:
    """A running application; see `spring_service`.

    Attributes:
        backend: What answers, and can be told to misbehave.
        port: Where.
    """

    backend: SpringBackend
    port: int

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def spring_service(
    backend: SpringBackend | None = None, *, port: int = 0
) -> Iterator[SpringService]:
    """Serve springs while the body runs.

    Args:
        backend: What answers; default is one that behaves.
        port: Where; 0 = a free one.
    """
    found = SpringBackend() if backend is None else backend
    with socket.create_server(("127.0.0.1", port)) as listener:
        config = uvicorn.Config(
            create_app(ApiSettings(), found),
            ws=SessionProtocol,
            ws_per_message_deflate=False,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        for _ in range(1000):
            if server.started:
                break
            thread.join(_PATIENCE_S / 1000)
        try:
            assert server.started, "the application did not start"
            yield SpringService(found, listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(_PATIENCE_S)
            assert not thread.is_alive(), "the application did not end"
