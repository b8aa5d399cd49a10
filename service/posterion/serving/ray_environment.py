"""Which settings keep a local Ray cluster private, and what they are for.

Ray reads its environment when it is imported, so these are set before. No ray here.
"""

import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path

from posterion.errors import ConfigurationError
from posterion.serving.haproxy import haproxy_binary, write_wrapper
from posterion.serving.ports import free_ports
from posterion.serving.settings import ServeSettings

AUTH_MODE = "RAY_AUTH_MODE"
TOKEN = "token"  # noqa: S105 - the name of Ray's authentication mode, not a secret
TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")

LONGEST_TEMP_DIR = 26
"""A socket's path may hold 107 bytes, and the longest that Ray makes below needs 81."""


def require_token_mode(environment: Mapping[str, str]) -> None:
    """Refuse to serve on a cluster that does not ask for a token.

    Every replica of Ray Serve listens on all interfaces and unpickles what it is sent, so a
    cluster without authentication lets anyone who reaches the machine run code on it.

    Raises:
        ConfigurationError: If the authentication mode is not ``token``.
    """
    mode = environment.get(AUTH_MODE, "")
    if mode != TOKEN:
        raise ConfigurationError(
            f"Ray must run with {AUTH_MODE}={TOKEN}, got {mode or 'nothing'!r}: without it, "
            "whoever reaches a replica's port can run code in it"
        )


def make_temp_dir(settings: ServeSettings) -> Path:
    """Create the directory for the token, the sockets and the logs; only we may enter it.

    Raises:
        ConfigurationError: If its path would be too long for a socket.
    """
    candidates = [settings.temp_dir] if settings.temp_dir else [Path(tempfile.gettempdir())]
    if settings.temp_dir is None:
        candidates.append(Path("/tmp"))  # noqa: S108 - only for a directory of our own below it
    for parent in candidates:
        if len(str(parent.absolute())) + len("/pst-12345678") <= LONGEST_TEMP_DIR:
            return Path(tempfile.mkdtemp(prefix="pst-", dir=parent.absolute()))
    raise ConfigurationError(
        f"temp_dir must be shorter than {LONGEST_TEMP_DIR - 12} characters, because sockets "
        f"lie below it; got {candidates[0]}"
    )


def ray_environment(settings: ServeSettings, directory: Path, *, port: int) -> dict[str, str]:
    """Environment of every process of the cluster.

    Args:
        settings: The service.
        directory: Private directory of the service.
        port: The HTTP port.

    Returns:
        Variables to set before ray is imported.
    """
    environment = {
        # Nobody without this token reaches any of Ray's own ports.
        AUTH_MODE: TOKEN,
        "RAY_AUTH_TOKEN_PATH": str(_write_token(directory)),
        # A one-machine cluster: Ray then binds its ports to loopback instead of the address
        # of the network card. The name speaks of other systems; it works the same on Linux.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        # Fixed by default, so that a second service on this machine would complain.
        "AUTOSCALER_METRIC_PORT": "0",
        "DASHBOARD_METRIC_PORT": "0",
        # The event loop of the replica answers HTTP itself. All computing is in threads.
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        # The starting process speaks to the replicas without an event loop of its own.
        "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "1",
        # Replicas drain at our command, before Serve hears of the shutdown.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0.1",
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",
        # Ray's default of 15 starves the service as soon as anything else runs: on a machine
        # with a load of 9 it was not ready after five minutes, with 0 after 46 seconds.
        "RAY_worker_niceness": "0",
        # On a busy machine the ingress starts slowly; after three times 5 s, Ray's default,
        # it would be killed while it starts, and the service with it.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    }
    if settings.ingress == "haproxy":
        environment |= _haproxy_environment(settings, directory, port)
    else:
        environment["RAY_SERVE_ENABLE_HA_PROXY"] = "0"
        environment["RAY_SERVE_ENABLE_DIRECT_INGRESS"] = "0"
    return environment


def enter_ray_environment(settings: ServeSettings, directory: Path, *, port: int) -> None:
    """Set the environment of this process, which its children inherit.

    Args:
        settings: The service.
        directory: Private directory of the service.
        port: The HTTP port.

    Raises:
        ConfigurationError: If the operator asks for another authentication mode.
    """
    if AUTH_MODE in os.environ:
        require_token_mode(os.environ)
    for name in TOKEN_VARIABLES:
        os.environ.pop(name, None)
    os.environ.update(ray_environment(settings, directory, port=port))


def _write_token(directory: Path) -> Path:
    path = directory / "token"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
    return path


def _haproxy_environment(settings: ServeSettings, directory: Path, port: int) -> dict[str, str]:
    sockets = directory / "h"
    sockets.mkdir(mode=0o700)
    metrics, stats, fallback = free_ports(3)
    wrapper = write_wrapper(
        directory,
        haproxy_binary(),
        http_port=port,
        pages=(metrics, stats),
        header_timeout_s=settings.header_timeout_s,
    )
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(wrapper),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(sockets / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(sockets / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(sockets),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(sockets / "server-state"),
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback),
    }
