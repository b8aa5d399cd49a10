"""Ports are chosen minutes before they are used."""

import socket

import pytest

from posterion.serving import ports
from posterion.serving.ports import HIGHEST, LOWEST, first_ephemeral_port, free_ports, is_free


def test_ports_are_different_and_free() -> None:
    found = free_ports(20)
    assert len(set(found)) == 20
    assert all(is_free("127.0.0.1", port) for port in found)


def test_the_kernel_gives_none_of_them_away() -> None:
    end = min(first_ephemeral_port(), HIGHEST)
    if end <= LOWEST:
        pytest.skip("the kernel's range leaves no room on this machine")
    assert all(LOWEST <= port < end for port in free_ports(20))


def test_a_port_in_use_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "first_ephemeral_port", lambda: LOWEST + 2)
    with socket.create_server(("127.0.0.1", LOWEST)):
        assert free_ports(1) == (LOWEST + 1,)


def test_any_port_is_taken_where_the_kernel_chooses_from_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ports, "first_ephemeral_port", lambda: 1024)
    (port,) = free_ports(1)
    assert is_free("127.0.0.1", port)
