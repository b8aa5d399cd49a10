"""Which TCP ports are free now, and likely to stay so."""

import contextlib
import random
import socket
from pathlib import Path
from typing import Final

LOWEST: Final = 20_000
"""Below lie the ports that Ray gives to its workers."""

HIGHEST: Final = 30_000
"""From here on Ray Serve looks for the replicas' own ports."""

ATTEMPTS: Final = 200

_EPHEMERAL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(n_ports: int, host: str = "127.0.0.1") -> tuple[int, ...]:
    """Find ports that nothing listens on, all different.

    They are bound minutes later, while Ray opens dozens of ports that the kernel chooses. So
    they come from below the range that the kernel chooses from, in random order: services
    that start together then hardly meet. Another process may still take one before it is
    used; the caller then fails to bind and says so.

    Args:
        n_ports: How many.
        host: Address they should be free on.

    Returns:
        The ports.
    """
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(_listening(host)) for _ in range(n_ports)]
        return tuple(int(each.getsockname()[1]) for each in sockets)


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen on that port now."""
    try:
        with socket.create_server((host, port), family=_family(host)):
            return True
    except OSError:
        return False


def first_ephemeral_port() -> int:
    """Lowest port that the kernel gives to those who do not choose; 0 if it does not say."""
    try:
        return int(_EPHEMERAL.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def _listening(host: str) -> socket.socket:
    """A server on a free port outside the kernel's range, or on any if that range is wide."""
    end = min(first_ephemeral_port(), HIGHEST)
    for _ in range(ATTEMPTS if end > LOWEST else 0):
        port = random.SystemRandom().randrange(LOWEST, end)
        with contextlib.suppress(OSError):
            return socket.create_server((host, port), family=_family(host))
    return socket.create_server((host, 0), family=_family(host))


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
