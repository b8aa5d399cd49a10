"""What a service on Ray Serve survives, and what it leaves behind when it does not."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from posterion.serving.processes import descendants
from posterion_store import Store
from tests.support.banks import NUMBERS, POSITIONS, publish_random_bank
from tests.support.services import Service, is_alive, running_service
from tests.support.waiting import until

pytestmark = pytest.mark.e2e
ETHANOL = {"numbers": NUMBERS.tolist(), "positions": POSITIONS.tolist()}
REPLICA = "ray::ServeRepli"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a store with one bank."""
    path = tmp_path_factory.mktemp("store")
    publish_random_bank(Store.open(path), n_samples=2)
    return str(path)


def predicts(service: Service) -> bool:
    """Whether one prediction works now."""
    with service.client() as client:
        return client.post("/v1/predict", json={"structures": [ETHANOL]}).status_code == 200


def replicas(service: Service) -> set[int]:
    """Process ids of the replicas."""
    return {each.pid for each in service.listeners() if each.program == REPLICA}


def test_two_services_share_a_machine_and_end_apart(store: str) -> None:
    options = ("--store", store, "--device", "cpu")
    with running_service(*options) as first, running_service(*options) as second:
        assert first.url != second.url
        assert predicts(first)
        assert predicts(second)
        of_first = first.pids()
        first.ask_to_end()
        assert first.wait_for_end() == 0, first.logged()
        assert [pid for pid in of_first if is_alive(pid)] == []
        assert predicts(second)


def test_a_killed_replica_is_replaced(store: str) -> None:
    with running_service("--store", store, "--device", "cpu", "--replicas", "2") as service:
        before = replicas(service)
        os.kill(min(before), signal.SIGKILL)
        until(lambda: len(replicas(service) - before) == 1)
        until(lambda: predicts(service))


def test_a_killed_service_leaves_no_process(store: str) -> None:
    with running_service("--store", store, "--device", "cpu") as service:
        own = service.pids()
        service.process.kill()
        service.wait_for_end()
        # Ray's agents first try to tell the dead cluster, for up to two and a half minutes.
        until(lambda: not any(is_alive(pid) for pid in own), deadline_s=300.0)


def test_a_start_that_takes_too_long_says_what_it_waited_for(store: str) -> None:
    """Nobody starts a cluster in three seconds; nothing of it is left."""
    program = Path(sys.executable).with_name("posterion")
    command = [str(program), "serve", "--port=0", "--store", store, "--startup-timeout=3"]
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, stderr=log) as process:
        own: set[int] = set()
        while process.poll() is None:
            own.update(descendants(process.pid))
        log.seek(0)
        said = log.read().decode()
    assert process.returncode == 1
    assert "not-ready: the service was not ready after 3 s: it was still waiting for" in said
    assert "--in-process" in said
    assert "Traceback" not in said
    assert not any(is_alive(pid) for pid in own)


def test_losing_the_cluster_ends_the_service_with_a_message(store: str) -> None:
    with running_service("--store", store, "--device", "cpu") as service:
        own = service.pids()
        (head,) = {each.pid for each in service.listeners() if each.program == "gcs_server"}
        os.kill(head, signal.SIGKILL)
        assert service.process.wait(60) != 0
        until(lambda: not any(is_alive(pid) for pid in own), deadline_s=30.0)
        assert service.logged() != ""
