"""Over a real socket: connections are kept, limits hold, and failures have names."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from posterion_client import Client, ConnectionFailed, RetryPolicy, Structure, TimedOut
from tests.unit.client.stand_in import StandIn

ATOM = Structure(symbols=["H"], positions=[[1.0, 0.0, 0.0]])
ONCE = RetryPolicy(budget_s=0)


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


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.finished.set()
        server.shutdown()
        thread.join(10)


def test_one_connection_serves_many_steps(server: Server) -> None:
    with Client(server.url) as client:
        energies = [client.predict(ATOM).energy for _ in range(20)]
    assert energies == [pytest.approx(0.15)] * 20
    assert len(server.service.seen) == 20
    assert len(server.connections) == 1


def test_proxy_of_the_environment_is_not_asked_for_this_machine(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with Client(server.url, retry=ONCE) as client:
        assert client.predict(ATOM).status == "ok"


def test_silence_ends_in_a_time_out(server: Server) -> None:
    server.silent = True
    limits = httpx.Timeout(5.0, read=0.05)
    with (
        Client(server.url, timeout=limits, retry=ONCE) as client,
        pytest.raises(TimedOut, match=r"no read within 0\.05 s"),
    ):
        client.predict(ATOM)


def test_reply_that_is_cut_off_is_a_lost_connection(server: Server) -> None:
    server.cut_after = 100
    with Client(server.url, retry=ONCE) as client, pytest.raises(ConnectionFailed):
        client.predict(ATOM)


def test_lost_connection_is_repeated(server: Server) -> None:
    server.cut_after = 100

    class Mend:
        def now(self) -> float:
            return 0.0

        def random(self) -> float:
            return 0.0

        def sleep(self, seconds: float) -> None:
            server.cut_after = None

    with Client(server.url, pacer=Mend()) as client:
        assert client.predict(ATOM).energy == pytest.approx(0.15)
    assert len(server.connections) == 2


def test_closed_port_is_a_failed_connection() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        with Client(url, retry=ONCE) as client:
            with pytest.raises(ConnectionFailed, match=url):
                client.predict(ATOM)
            assert client.ready() is False
