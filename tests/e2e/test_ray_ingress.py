"""The other ingress: Ray's own proxy, where HAProxy does not run."""

from pathlib import Path

import pytest

from posterion_store import Store
from tests.support.banks import NUMBERS, POSITIONS, publish_random_bank
from tests.support.services import is_alive, running_service

ETHANOL = {"numbers": NUMBERS.tolist(), "positions": POSITIONS.tolist()}


@pytest.mark.e2e
def test_ray_proxy_answers_in_place_of_haproxy_and_leaves_no_process(tmp_path: Path) -> None:
    digest = publish_random_bank(Store.open(tmp_path), n_samples=2)
    options = ("--store", str(tmp_path), "--device", "cpu", "--ingress", "ray")
    with running_service(*options) as service:
        with service.client() as client:
            assert client.get("/readyz").status_code == 200
            document = client.post("/v1/predict", json={"structures": [ETHANOL]}).json()
        assert document["model"]["digest"] == digest
        port = int(service.url.rpartition(":")[2])
        (front,) = (each for each in service.listeners() if each.port == port)
        assert front.on_loopback
        assert front.program == "ray::ProxyActor"
        assert "haproxy" not in {each.program for each in service.listeners()}
        before = service.pids()
        service.ask_to_end()
        assert service.wait_for_end() == 0, service.logged()
        assert [pid for pid in before if is_alive(pid)] == []
