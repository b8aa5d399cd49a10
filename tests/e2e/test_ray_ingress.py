"""Sessions behind HAProxy, and the other ingress: Ray's own proxy, where that does not run."""

import json
from pathlib import Path

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from posterion_store import Store
from tests.support.banks import NUMBERS, POSITIONS, publish_random_bank
from tests.support.frames import SUBPROTOCOL, read_reply, step_frame
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


@pytest.mark.e2e
def test_a_session_behind_haproxy_is_answered_and_told_of_the_end(tmp_path: Path) -> None:
    publish_random_bank(Store.open(tmp_path), n_samples=2)
    with running_service("--store", str(tmp_path), "--device", "cpu") as service:
        with service.client() as client:
            (result,) = client.post("/v1/predict", json={"structures": [ETHANOL]}).json()["results"]
        url = service.url.replace("http", "ws") + "/v1/models/ethanol/session"
        options = {"subprotocols": [SUBPROTOCOL], "compression": None, "max_size": None}
        with connect(url, **options) as socket:  # type: ignore[arg-type]
            socket.send(json.dumps({"structure": ETHANOL}))
            assert json.loads(socket.recv(60))["model"]["name"] == "ethanol"
            socket.send(step_frame(1, POSITIONS[None]))
            reply = socket.recv(60)
            assert isinstance(reply, bytes)
            np.testing.assert_array_equal(read_reply(reply).forces, result["forces"])
            service.ask_to_end()
            assert json.loads(socket.recv(60))["code"] == "draining"
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(60)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        assert service.wait_for_end() == 0, service.logged()
