"""Probes, metrics, logs and the page of documentation."""

import io
import logging
from collections.abc import Iterator
from html.parser import HTMLParser

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from posterion.api.app import create_app
from posterion.api.backend import Health
from posterion.api.settings import ApiSettings
from posterion.observability.logging import (
    LOGGER_NAME,
    bind_request_id,
    configure_logging,
    current_request_id,
)
from tests.support.asgi_caller import AsgiCaller
from tests.support.fake_backend import STABLE, UNKNOWN_ELEMENT, SpringBackend
from tests.support.requests import SALT, WATER, document


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_a_probe_says_what_the_backend_says(
    caller: AsgiCaller, backend: SpringBackend, path: str
) -> None:
    assert caller.get(path).json() == {"status": "ok", "detail": "fine"}
    backend.health = Health(ok=False, detail="the batcher stands still")
    reply = caller.get(path)
    assert reply.status_code == 503
    assert reply.json()["detail"] == "the batcher stands still"
    assert reply.headers["retry-after"] == "1"


def test_metrics_count_what_happened(caller: AsgiCaller, backend: SpringBackend) -> None:
    caller.predict(document(WATER, SALT, {**WATER, "numbers": [UNKNOWN_ELEMENT] * 3}))
    caller.predict(document("water"))
    caller.get("/nowhere/at/all")
    backend.failure = RuntimeError("defect")
    caller.predict(document(WATER))
    found = samples(caller)
    model, version = "springs", STABLE[7:23]
    ok = {"route": "/v1/predict", "status": "200", "code": "ok", "model": model}
    assert found["posterion_requests_total", key(**ok, version=version)] == 1
    assert total(found, "posterion_requests_total", code="invalid-request") == 1
    assert total(found, "posterion_requests_total", route="unmatched", status="404") == 1
    assert total(found, "posterion_requests_total", code="internal", status="500") == 1
    assert total(found, "posterion_rejected_total") == 3
    assert found["posterion_request_structures_sum", key(model=model)] == 3
    assert found["posterion_atom_samples_total", key(model=model)] == (3 + 2 + 3) * 4
    assert found["posterion_queue_seconds_sum", key(model=model)] == 0.001
    assert found["posterion_evaluate_seconds_sum", key(model=model)] == 0.003
    flag = {"model": model, "code": "force-epistemic-high", "severity": "candidate"}
    assert found["posterion_flagged_total", key(**flag)] == 1
    error = {"model": model, "code": "unsupported-element"}
    assert found["posterion_item_errors_total", key(**error)] == 1
    assert found["posterion_uncertainty_force_std_count", key(model=model)] == 2
    info = {"model": model, "version": version, "digest": STABLE}
    assert found["posterion_model_info", key(**info)] == 1
    assert found["posterion_ready", key()] == 1
    # The scrape itself is being answered.
    assert found["posterion_inflight", key()] == 1


def test_labels_never_come_from_the_caller(caller: AsgiCaller) -> None:
    for index in range(20):
        caller.get(f"/v1/models/guess-{index}")
        caller.get(f"/guess-{index}")
    assert "guess" not in caller.get("/metrics").text


def test_readiness_shows_in_the_metrics(caller: AsgiCaller, backend: SpringBackend) -> None:
    backend.health = Health(ok=False, detail="loading")
    assert samples(caller)["posterion_ready", key()] == 0


def test_two_applications_count_apart() -> None:
    counts = []
    for n_requests in (2, 3):
        with AsgiCaller(create_app(ApiSettings(), SpringBackend())) as caller:
            for _ in range(n_requests):
                caller.predict(document(WATER))
            counts.append(total(samples(caller), "posterion_requests_total"))
    assert counts == [2, 3]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    logger = logging.getLogger(LOGGER_NAME)
    before = (logger.handlers, logger.level, logger.propagate)
    stream = io.StringIO()
    configure_logging(stream=stream)
    yield stream
    logger.handlers, logger.level, logger.propagate = before


def test_each_request_leaves_one_line_without_positions(
    caller: AsgiCaller, log: io.StringIO
) -> None:
    caller.predict(document({**WATER, "id": "tell-nobody"}), x_request_id="run-1")
    caller.get("/livez")
    (line,) = [orjson.loads(text) for text in log.getvalue().splitlines()]
    assert line.pop("time").endswith("+00:00")
    assert line.pop("duration_ms") > 0
    assert line == {
        "level": "info",
        "logger": "posterion.api",
        "message": "request",
        "request_id": "run-1",
        "method": "POST",
        "route": "/v1/predict",
        "status": 200,
        "model": "springs",
        "version": STABLE[7:23],
        "n_structures": 1,
        "n_atoms": 3,
    }


def test_a_defect_is_logged_with_its_traceback_and_request(
    caller: AsgiCaller, backend: SpringBackend, log: io.StringIO
) -> None:
    backend.failure = RuntimeError("a defect")
    reply = caller.predict(document(WATER))
    error, request = [orjson.loads(text) for text in log.getvalue().splitlines()]
    assert error["level"] == "error"
    assert "RuntimeError: a defect" in error["exception"]
    assert error["request_id"] == request["request_id"] == reply.headers["x-request-id"]
    assert (request["status"], request["code"]) == (500, "internal")


def test_request_ids_nest_and_end() -> None:
    with bind_request_id("outer"):
        with bind_request_id("inner"):
            assert current_request_id() == "inner"
        assert current_request_id() == "outer"
    assert current_request_id() is None


def test_configuring_twice_logs_once(log: io.StringIO) -> None:
    configure_logging(stream=log)
    logging.getLogger("posterion.somewhere").warning("once %d", 1)
    assert [orjson.loads(text)["message"] for text in log.getvalue().splitlines()] == ["once 1"]


class _Resources(HTMLParser):
    """Collects what a page would load, and where it points."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.identifiers: set[str] = set()
        self.targets: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "src" or (tag == "link" and name == "href") or tag == "script":
                self.loaded.append(tag)
            if name == "id":
                self.identifiers.add(value or "")
            if tag == "a" and name == "href" and (value or "").startswith("#"):
                self.targets.add((value or "")[1:])


def test_the_docs_page_needs_no_network(caller: AsgiCaller) -> None:
    reply = caller.get("/docs")
    page = _Resources()
    page.feed(reply.text)
    assert reply.headers["content-type"].startswith("text/html")
    assert page.loaded == []
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert page.targets
    assert page.targets <= page.identifiers
    for path in caller.get("/openapi.json").json()["paths"]:
        assert path in reply.text


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(caller: AsgiCaller) -> Samples:
    families = text_string_to_metric_families(caller.get("/metrics").text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def key(**labels: str) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())


def total(found: Samples, name: str, **labels: str) -> float:
    return sum(
        value
        for (found_name, found_labels), value in found.items()
        if found_name == name and key(**labels) <= found_labels
    )
