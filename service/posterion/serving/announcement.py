"""What an operator reads when the service is up."""

import os
from collections.abc import Sequence


def address(host: str, port: int) -> str:
    """URL under which a client on this machine reaches the service.

    Args:
        host: Where it listens; a wildcard becomes loopback.
        port: Its port.
    """
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - compared only
    if ":" in shown and not shown.startswith("["):
        shown = f"[{shown}]"
    return f"http://{shown}:{port}"


def announcement(*, url: str, mode: str, banks: Sequence[str], ready: bool = True) -> str:
    """Write the lines.

    Args:
        url: Where to send requests.
        mode: What runs, e.g. ``Ray Serve, 1 replica``.
        banks: One line per bank.
        ready: Whether predictions work already.
    """
    return "\n".join(
        [
            f"Posterion {'is ready' if ready else 'listens, but is not ready,'} at {url}",
            *(f"  serves  {bank}" for bank in banks),
            f"  mode    {mode}",
            f"  stop    Ctrl-C, or kill -TERM {os.getpid()}",
            "",
        ]
    )
