"""Who asks is said by every client alike, and kept out of what is written to files."""

import asyncio
from collections.abc import Mapping

import pytest

from posterion_client import AsyncClient, Client, InvalidArgument, Structure, Unauthenticated
from posterion_client.md import BatchSession, MDSession, Transport
from tests.support.doorkeeper import doorkeeper

ATOM = Structure(symbols=["H"], positions=[[0.0, 0.0, 0.0]])


def ask_everywhere(url: str, headers: Mapping[str, str] | None = None) -> None:
    """Ask by every client about one atom; none is answered."""

    async def asked() -> None:
        async with AsyncClient(url, headers=headers) as client:
            await client.predict(ATOM)

    with Client(url, headers=headers) as client, pytest.raises(Unauthenticated):
        client.predict(ATOM)
    with pytest.raises(Unauthenticated):
        asyncio.run(asked())
    transports: tuple[Transport, ...] = ("http", "websocket")
    for transport in transports:
        with (
            MDSession(["H"], url=url, headers=headers, transport=transport) as session,
            pytest.raises(Unauthenticated),
        ):
            session.evaluate([[0.0, 0.0, 0.0]])
    with BatchSession(url=url, headers=headers) as batches, pytest.raises(Unauthenticated):
        batches.evaluate([1], [[0.0, 0.0, 0.0]], [1])


def test_the_environment_says_it_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTERION_AUTHORIZATION", "Bearer t")
    with doorkeeper() as door:
        ask_everywhere(door.url)
    assert len(door.heads) >= 5
    assert all("authorization: bearer t" in head.lower() for head in door.heads)


def test_what_the_caller_says_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTERION_AUTHORIZATION", "Bearer t")
    with doorkeeper() as door:
        ask_everywhere(door.url, {"authorization": "Bearer mine"})
    assert door.introductions() == {"Bearer mine"}


def test_nothing_is_said_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POSTERION_AUTHORIZATION", raising=False)
    with doorkeeper() as door:
        ask_everywhere(door.url)
    assert door.introductions() == set()


@pytest.mark.parametrize("value", ["Bearer t\r\nHost: elsewhere", "Bearer\nt"])
def test_a_header_stays_on_its_line_and_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("POSTERION_AUTHORIZATION", value)
    for make in (Client, AsyncClient, BatchSession, lambda: MDSession(["H"])):
        with pytest.raises(InvalidArgument, match="Authorization holds the end of a line") as said:
            make()
        assert "Bearer" not in str(said.value)


def test_a_line_end_behind_the_token_is_the_files_not_the_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("POSTERION_AUTHORIZATION", "Bearer t\n")
    with doorkeeper() as door:
        ask_everywhere(door.url)
    assert door.introductions() == {"Bearer t"}
