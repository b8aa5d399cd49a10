"""A service that lets nobody in, and remembers how each one introduced itself."""

import contextlib
import socket
import threading
from collections.abc import Iterator

_REFUSAL = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Doorkeeper:
    """Answers 401; see `doorkeeper`.

    Attributes:
        heads: The beginning of each request.
    """

    def __init__(self, listener: socket.socket) -> None:
        self.heads: list[str] = []
        self._listener = listener
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def serve(self) -> None:
        """Answer until the listener is closed."""
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    head = b""
                    while b"\r\n\r\n" not in head:
                        head += connection.recv(1 << 16)
                    self.heads.append(head.partition(b"\r\n\r\n")[0].decode("latin-1"))
                    connection.sendall(_REFUSAL)

    def introductions(self) -> set[str]:
        """The values of ``Authorization``."""
        return {
            line.partition(":")[2].strip()
            for head in self.heads
            for line in head.split("\r\n")
            if line.lower().startswith("authorization:")
        }


@contextlib.contextmanager
def doorkeeper() -> Iterator[Doorkeeper]:
    """Let nobody in while the body runs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = Doorkeeper(listener)
        thread = threading.Thread(target=found.serve, daemon=True)
        thread.start()
        yield found
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5.0)
