"""One real service on Ray Serve, from the command line to the last process.

Two replicas, so that whatever one of them answers for the other shows. The tests share the
service and run in order; the last one ends it.
"""

import os
import pickle
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import httpx
import numpy as np
import pytest
from ray.serve.generated import serve_pb2, serve_pb2_grpc

from posterion.inference.loading import load_bank
from posterion.inference.predictor import Predictor
from posterion.serving.settings import ServeSettings
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.prediction import Prediction
from posterion_store import Store
from tests.support.banks import NUMBERS, POSITIONS, ethanol, publish_random_bank
from tests.support.half_open import all_closed_after, half_open_connections
from tests.support.services import Listener, Service, is_alive, running_service
from tests.support.waiting import until

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
REPLICA = "ray::ServeRepli"
ETHANOL = {"numbers": NUMBERS.tolist(), "positions": POSITIONS.tolist()}
BAD = {"numbers": [54], "positions": [[0.0, 0.0, 0.0]]}


@dataclass(frozen=True)
class Stage:
    """The service and the store behind it.

    Attributes:
        service: The service.
        store: A writable store, whose bank ``ethanol`` is served.
        versions: Digests of two versions; the first is served at the start.
    """

    service: Service
    store: Store
    versions: tuple[str, str]

    def replica_ports(self) -> list[Listener]:
        """The loopback HTTP ports of the replicas, where each answers for itself."""
        return [
            each
            for each in self.service.listeners()
            if each.program == REPLICA and answers_http(each)
        ]

    def served_by_each_replica(self) -> list[str]:
        """Digest that each replica says it serves."""
        return [
            httpx.get(
                f"http://127.0.0.1:{each.port}/v1/models/ethanol", timeout=30.0, trust_env=False
            ).json()["digest"]
            for each in self.replica_ports()
        ]


def answers_http(listener: Listener) -> bool:
    """Whether a replica's port is the one that speaks HTTP."""
    try:
        reply = httpx.get(f"http://127.0.0.1:{listener.port}/livez", timeout=5.0, trust_env=False)
    except httpx.HTTPError:
        return False
    return reply.status_code == 200


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A service of two replicas."""
    path = tmp_path_factory.mktemp("store")
    store = Store.open(path)
    first = publish_random_bank(store, seed=0, n_samples=2)
    second = publish_random_bank(store, seed=1, n_samples=2, alias=None)
    with running_service("--store", str(path), "--replicas", "2", "--device", "cpu") as service:
        yield Stage(service, store, (first, second))


def test_forces_over_http_equal_the_predictor(stage: Stage) -> None:
    predictor = Predictor(load_bank(stage.store, "ethanol"))
    (expected,) = predictor.predict([ethanol()], EvaluationOptions(precision="float64"))
    assert isinstance(expected, Prediction)
    with stage.service.client() as client:
        body = {"structures": [ETHANOL, BAD], "precision": "float64"}
        reply = client.post("/v1/predict", json=body)
    document = reply.json()
    assert document["model"]["digest"] == stage.versions[0]
    assert reply.headers["etag"] == f'"{stage.versions[0]}"'
    good, bad = document["results"]
    np.testing.assert_allclose(good["forces"], expected.forces, rtol=0, atol=1e-9)
    assert bad["error"]["code"] == "unsupported-element"


def test_no_process_steps_back_behind_the_machines_other_work(stage: Stage) -> None:
    own = os.getpriority(os.PRIO_PROCESS, stage.service.process.pid)
    priorities = {os.getpriority(os.PRIO_PROCESS, each.pid) for each in stage.service.listeners()}
    assert priorities == {own}


def test_only_documented_ports_listen_beyond_loopback(stage: Stage) -> None:
    row = re.compile(r"^\| `([^`]+)` \|.*\| all interfaces \|$", re.MULTILINE)
    table = row.findall(OPERATIONS.read_text())
    open_to_all = {each.program for each in stage.service.listeners() if not each.on_loopback}
    assert open_to_all == set(table) == {REPLICA}
    assert len(stage.replica_ports()) == 2


def test_a_replica_unpickles_nothing_without_the_token(stage: Stage, tmp_path: Path) -> None:
    trace = tmp_path / "made-by-the-attacker"
    ports = [
        each.port
        for each in stage.service.listeners()
        if each.program == REPLICA and not each.on_loopback
    ]
    assert len(ports) == 2
    for port in ports:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = serve_pb2_grpc.ASGIServiceStub(channel)  # type: ignore[no-untyped-call]
            request = serve_pb2.ASGIRequest(  # type: ignore[attr-defined]
                pickled_request_metadata=pickle.dumps(Attack(trace))
            )
            with pytest.raises(grpc.RpcError) as caught:
                stub.HandleRequest(request, timeout=30)
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert not trace.exists()


@dataclass(frozen=True)
class Attack:
    """Makes a directory where it is unpickled.

    Attributes:
        trace: The directory.
    """

    trace: Path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return (os.mkdir, (str(self.trace),))


def test_the_jobs_interface_refuses_strangers(stage: Stage) -> None:
    agents = [each for each in stage.service.listeners() if each.program == "ray::DashboardA"]
    statuses: set[int] = set()
    for agent in agents:
        url = f"http://127.0.0.1:{agent.port}/api/job_agent/jobs/"
        try:
            reply = httpx.post(url, json={"entrypoint": "id"}, timeout=10.0, trust_env=False)
        except httpx.HTTPError:
            continue
        statuses.add(reply.status_code)
    assert agents
    # The interface has one fixed port: a second service on the machine does without it.
    has_interface = any(agent.port == 52365 for agent in agents)
    assert statuses - {404, 405} == ({401} if has_interface else set())


def test_every_replica_follows_a_promotion_and_a_rollback(stage: Stage) -> None:
    first, second = stage.versions
    assert stage.served_by_each_replica() == [first, first]
    stage.store.promote("ethanol", second, alias="stable", by="tests")
    until(lambda: stage.served_by_each_replica() == [second, second])
    with stage.service.client() as client:
        document = client.post("/v1/predict", json={"structures": [ETHANOL]}).json()
        assert document["model"]["digest"] == second
        pinned = client.post(
            f"/v1/models/ethanol/versions/{first}/predict", json={"structures": [ETHANOL]}
        ).json()
        assert pinned["model"]["digest"] == first
    stage.store.rollback("ethanol", by="tests")
    until(lambda: stage.served_by_each_replica() == [first, first])


def test_slow_clients_are_cut_off_and_the_others_answered(stage: Stage) -> None:
    service = stage.service
    promised_s = ServeSettings().header_timeout_s
    with half_open_connections(service.url, 50) as connections, service.client() as client:
        reply = client.post("/v1/predict", json={"structures": [ETHANOL]})
        assert reply.status_code == 200
        # HAProxy counts anew from a connection's first byte, which may come at the last moment.
        all_closed_after(connections, deadline_s=2.0 * promised_s + 5.0)


def test_sigterm_answers_what_was_asked_and_leaves_no_process(stage: Stage) -> None:
    service = stage.service
    before = service.pids()
    assert len(before) > 5
    structures = [ETHANOL] * 1024  # about a second of work: 64 are answered before they are seen

    def ask() -> int:
        with service.client() as client:
            body = {"structures": structures, "precision": "float64"}
            return client.post("/v1/predict", json=body).status_code

    with ThreadPoolExecutor() as threads:
        replies = [threads.submit(ask) for _ in range(2)]
        until(lambda: in_flight(stage) >= 2)
        service.ask_to_end()
        assert [reply.result() for reply in replies] == [200, 200]
    assert service.wait_for_end() == 0, service.logged()
    assert [pid for pid in before if is_alive(pid)] == []


def in_flight(stage: Stage) -> float:
    """Requests that the replicas are answering, this question left out."""
    total = 0.0
    for each in stage.replica_ports():
        url = f"http://127.0.0.1:{each.port}/metrics"
        text = httpx.get(url, timeout=30.0, trust_env=False).text
        found = re.search(r"^posterion_inflight (\S+)$", text, re.MULTILINE)
        assert found is not None
        total += float(found[1]) - 1.0
    return total
