"""Which TCP ports are free now."""

import contextlib
import socket


def free_ports(n_ports: int, host: str = "127.0.0.1") -> tuple[int, ...]:
    """Find ports that nothing listens on, all different.

    Another process may take one before it is used; the caller then fails to bind and says so.

    Args:
        n_ports: How many.
        host: Address they should be free on.

    Returns:
        The ports.
    """
    with contextlib.ExitStack() as held:
        sockets = [
            held.enter_context(socket.create_server((host, 0), family=_family(host)))
            for _ in range(n_ports)
        ]
        return tuple(int(each.getsockname()[1]) for each in sockets)


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen on that port now."""
    try:
        with socket.create_server((host, port), family=_family(host)):
            return True
    except OSError:
        return False


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
