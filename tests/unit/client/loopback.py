"""The stand-in on a real socket of this machine."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from tests.unit.client.stand_in import StandIn


class Server(ThreadingHTTPServer):
    """Answers as the stand-in does, and counts who connects.

    Attributes:
        connections: Addresses connected from, in order.
        silent: While set, requests are read and never answered.
        cut_after: Bytes after which the connection is cut, or None.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.service = StandIn()
        self.connections: list[object] = []
        self.finished = threading.Event()
        self.silent = False
        self.cut_after: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.connections.append(self.client_address)

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"]))
        if self.server.silent:
            self.server.finished.wait(30)
            self.close_connection = True
            return
        request = httpx.Request(
            "POST", f"{self.server.url}{self.path}", headers=self.headers.items(), content=content
        )
        reply = self.server.service(request)
        self.send_response(reply.status_code)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.content[: self.server.cut_after])
        if self.server.cut_after is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Stay quiet."""
