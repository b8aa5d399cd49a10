"""The service on a Ray cluster of its own: started, watched and ended with this process."""

import logging
import pkgutil
import shutil
from pathlib import Path

from posterion.errors import ConfigurationError
from posterion.observability.logging import configure_logging
from posterion.serving.ports import free_ports, is_free
from posterion.serving.processes import adopt_orphans, end_descendants
from posterion.serving.ray_environment import enter_ray_environment, make_temp_dir
from posterion.serving.settings import ServeSettings
from posterion.serving.startup import StartupTooLong, bounded_startup
from posterion.serving.stop_signal import Stopped, stop_signal

SERVED = "posterion.serving.app:build"
PATIENCE_S = 3.0
DEADLINE_S = 8.0

logger = logging.getLogger(__name__)


def serve_on_ray(settings: ServeSettings, *, application: str = SERVED) -> int:
    """Start a cluster, serve until a signal ends it, and end every process of it.

    Args:
        settings: The service.
        application: Import path of what builds the Ray Serve application, as in a Serve
            config; imported once Ray's environment is set.

    Returns:
        Exit status: 0 after a signal, 1 if the cluster failed.

    Raises:
        ConfigurationError: If the settings cannot work on this machine.
        NotReady: If the service does not become ready in time.
    """
    configure_logging()
    settings = _with_free_port(settings)
    directory = make_temp_dir(settings)
    enter_ray_environment(settings, directory, port=settings.port)
    adopt_orphans()
    clean = False
    with stop_signal() as stop, bounded_startup(settings.startup_timeout_s) as startup:
        try:
            startup.waits_for("Ray to be imported")
            from posterion.serving.ray_session import run  # noqa: PLC0415 - reads the environment

            clean = run(settings, directory, stop, startup, pkgutil.resolve_name(application))
        except Stopped:
            clean = True
        except StartupTooLong:
            raise startup.too_long() from None
        finally:
            startup.over()
            end_descendants(patience_s=PATIENCE_S, deadline_s=DEADLINE_S)
            _tidy(directory, keep_logs=not clean)
    return 0 if clean else 1


def _with_free_port(settings: ServeSettings) -> ServeSettings:
    """Fix the port.

    Raises:
        ConfigurationError: If it cannot be listened on.
    """
    port = settings.port or free_ports(1, settings.host)[0]
    if not is_free(settings.host, port):
        raise ConfigurationError(f"cannot listen on {settings.host} port {port}: it is in use")
    return settings.model_copy(update={"port": port})


def _tidy(directory: Path, *, keep_logs: bool) -> None:
    """Remove what the cluster left behind; after a failure its logs stay."""
    (directory / "token").unlink(missing_ok=True)
    if keep_logs:
        logger.error("the logs of the cluster are in %s", directory / "r")
    else:
        shutil.rmtree(directory, ignore_errors=True)
