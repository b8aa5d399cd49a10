"""One life of the Ray cluster. Importing this imports ray: its environment must be set."""

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import ray
from ray import serve
from ray.serve import Application

from posterion.serving.announcement import address, announcement
from posterion.serving.app import APPLICATION
from posterion.serving.processes import children
from posterion.serving.settings import ServeSettings
from posterion.serving.startup import Startup
from posterion.serving.stop_signal import StopSignal

OBJECT_STORE_BYTES = 100_000_000
WATCH_INTERVAL_S = 1.0
READY_POLL_S = 0.1
LAST_BYTES_S = 0.5
"""Replies that the replicas have handed over still pass the ingress."""

logger = logging.getLogger(__name__)


def run(
    settings: ServeSettings,
    directory: Path,
    stop: StopSignal,
    startup: Startup,
    build: Callable[[ServeSettings], Application],
) -> bool:
    """Run the cluster until a signal arrives or one of its processes ends.

    Args:
        settings: The service; the port is fixed.
        directory: Private directory of the service.
        stop: Tells that a signal arrived.
        startup: Told what the start waits for, and when it is over.
        build: Builds what is served.

    Returns:
        Whether it ended because it was asked to.
    """
    startup.waits_for("the processes of the Ray cluster")
    ray.init(
        address="local",
        num_cpus=settings.replicas * settings.n_cpus,
        num_gpus=0 if settings.device == "cpu" else None,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=False,
        logging_level=logging.WARNING,
        _temp_dir=str(directory / "r"),
    )
    stop.install()
    try:
        essential = children()
        startup.waits_for(f"the ingress {settings.ingress}")
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": settings.host, "port": settings.port},
        )
        startup.waits_for("the replicas to load the banks")
        handle = serve.run(build(_with_device(settings)), name=APPLICATION, blocking=False)
        url = address(settings.host, settings.port)
        _wait_until_ready(url, startup)
        banks = handle.describe.remote().result(timeout_s=10)
        replicas = "1 replica" if settings.replicas == 1 else f"{settings.replicas} replicas"
        mode = f"Ray Serve, {replicas}, ingress {settings.ingress}"
        sys.stdout.write(announcement(url=url, mode=mode, banks=banks))
        sys.stdout.flush()
        stop.interrupt = False
        startup.over()
        asked = _wait_for_end(stop.event, essential)
        if asked:
            with contextlib.suppress(TimeoutError):
                handle.broadcast("drain").results(
                    timeout_s=settings.drain_timeout_s + 2.0, return_exceptions=True
                )
            time.sleep(LAST_BYTES_S)
        return asked
    finally:
        stop.interrupt = False
        ray.shutdown()


def _with_device(settings: ServeSettings) -> ServeSettings:
    """Fix the device: a GPU where the cluster has one, unless the operator chose."""
    if settings.device != "auto":
        return settings
    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return settings.model_copy(update={"device": "cuda" if resources.get("GPU") else "cpu"})


def _wait_until_ready(url: str, startup: Startup) -> None:
    """Ask for readiness through the ingress, as any client would."""
    said = ""
    with httpx.Client(base_url=url, timeout=5.0, trust_env=False) as client:
        while (reason := _why_not_ready(client)) is not None:
            if reason != said:
                startup.waits_for(f"{url}/readyz, which says: {reason}")
            said = reason
            time.sleep(READY_POLL_S)


def _why_not_ready(client: httpx.Client) -> str | None:
    try:
        reply = client.get("/readyz")
    except httpx.HTTPError as error:
        return str(error)
    return None if reply.status_code == httpx.codes.OK else reply.text


def _wait_for_end(asked: threading.Event, essential: frozenset[int]) -> bool:
    """Wait for a signal, or for one of Ray's own processes to end; whether it was asked."""
    while not asked.wait(WATCH_INTERVAL_S):
        lost = essential - children()
        if lost:
            logger.error("a process of the cluster has ended: %s", sorted(lost))
            return False
    return True
