"""Over a real socket: connections are kept, limits hold, and failures have names."""

import socket

import httpx
import pytest

from posterion_client import Client, ConnectionFailed, RetryPolicy, Structure, TimedOut
from tests.unit.client.loopback import Server

ATOM = Structure(symbols=["H"], positions=[[1.0, 0.0, 0.0]])
ONCE = RetryPolicy(budget_s=0)


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
