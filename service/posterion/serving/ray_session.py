"""One life of the Ray cluster. Importing this imports ray: its environment must be set."""

import contextlib
import logging
import sys
import threading
import time
from pathlib import Path

import httpx
import ray
from ray import serve

from posterion.errors import NotReady
from posterion.serving.announcement import address, announcement
from posterion.serving.app import APPLICATION, build
from posterion.serving.processes import descendants
from posterion.serving.settings import ServeSettings
from posterion.serving.stop_signal import StopSignal

OBJECT_STORE_BYTES = 100_000_000
WATCH_INTERVAL_S = 1.0
READY_POLL_S = 0.1
LAST_BYTES_S = 0.5
"""Replies that the replicas have handed over still pass the ingress."""

logger = logging.getLogger(__name__)


def run(settings: ServeSettings, directory: Path, stop: StopSignal) -> bool:
    """Run the cluster until a signal arrives or one of its processes ends.

    Args:
        settings: The service; port and device are fixed.
        directory: Private directory of the service.
        stop: Tells that a signal arrived.

    Returns:
        Whether it ended because it was asked to.

    Raises:
        NotReady: If the service does not become ready in time.
    """
    ray.init(
        address="local",
        num_cpus=settings.replicas * settings.n_cpus,
        num_gpus=None if settings.device == "cuda" else 0,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=False,
        logging_level=logging.WARNING,
        _temp_dir=str(directory / "r"),
    )
    stop.install()
    try:
        children = set(descendants())
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": settings.host, "port": settings.port},
        )
        handle = serve.run(build(settings), name=APPLICATION, blocking=False)
        url = address(settings.host, settings.port)
        _wait_until_ready(url, settings.startup_timeout_s)
        banks = handle.describe.remote().result(timeout_s=10)
        replicas = "1 replica" if settings.replicas == 1 else f"{settings.replicas} replicas"
        mode = f"Ray Serve, {replicas}, ingress {settings.ingress}"
        sys.stdout.write(announcement(url=url, mode=mode, banks=banks))
        sys.stdout.flush()
        stop.interrupt = False
        asked = _wait_for_end(stop.event, children)
        if asked:
            with contextlib.suppress(TimeoutError):
                handle.broadcast("drain").results(timeout_s=settings.drain_timeout_s + 2.0)
            time.sleep(LAST_BYTES_S)
        return asked
    finally:
        stop.interrupt = False
        ray.shutdown()


def _wait_until_ready(url: str, timeout_s: float) -> None:
    """Ask for readiness through the ingress, as any client would.

    Raises:
        NotReady: If the service does not become ready in time.
    """
    deadline = time.monotonic() + timeout_s
    detail = "nothing answers"
    with httpx.Client(base_url=url, timeout=5.0, trust_env=False) as client:
        while time.monotonic() < deadline:
            try:
                reply = client.get("/readyz")
            except httpx.HTTPError as error:
                detail = str(error)
            else:
                if reply.status_code == httpx.codes.OK:
                    return
                detail = reply.text
            time.sleep(READY_POLL_S)
    raise NotReady(f"the service was not ready after {timeout_s:g} s: {detail}")


def _wait_for_end(asked: threading.Event, children: set[int]) -> bool:
    """Wait for a signal, or for one of Ray's own processes to end; whether it was asked."""
    while not asked.wait(WATCH_INTERVAL_S):
        lost = children - set(descendants())
        if lost:
            logger.error("a process of the cluster has ended: %s", sorted(lost))
            return False
    return True
