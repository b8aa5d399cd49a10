"""What a route, a method and the headers of a request decide, most of it before any work."""

import orjson
import pytest

from posterion.errors import (
    EvaluationFailed,
    NonFiniteResult,
    NotReady,
    StructureTooLarge,
    UnsupportedProperty,
)
from tests.support.asgi_caller import PREDICT, AsgiCaller
from tests.support.fake_backend import OLDER, STABLE, UNKNOWN_ELEMENT, SpringBackend
from tests.support.problems import check_problem
from tests.support.requests import COINCIDENT, WATER, document

WATER_BODY = orjson.dumps(document(WATER))


@pytest.mark.parametrize("path", ["/v1", "/v1/models", PREDICT, "/v1/models/springs/predict"])
def test_nothing_is_answered_before_the_service_is_ready(
    caller: AsgiCaller, backend: SpringBackend, path: str
) -> None:
    backend.unready = NotReady("loading", retry_after_s=0.1)
    reply = caller.predict(document(WATER), path) if "predict" in path else caller.get(path)
    check_problem(reply, 503, "not-ready")
    assert reply.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v2",
        "/v1/",
        "/v1/predict/",
        "/v1/models/",
        "/favicon.ico",
        "/redoc",
        "/%00",
        "/v1/%ff",
    ],
)
def test_an_unknown_route_is_not_found(caller: AsgiCaller, path: str) -> None:
    check_problem(caller.get(path), 404, "not-found")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/absent",
        "/v1/models/absent/versions",
        "/v1/models/Springs",
        "/v1/models/springs/versions/canary",
        "/v1/models/springs/versions/sha256:00",
        "/v1/models/springs%0d%0a",
        "/v1/models/" + "a" * 5000,
        "/v1/models/springs/versions/%F0%9F%98%80",
    ],
)
def test_an_unknown_model_or_version_is_said_to_be(caller: AsgiCaller, path: str) -> None:
    check_problem(caller.get(path), 404, "unknown-model")


@pytest.mark.parametrize(
    "path", ["/v1/models/absent/predict", "/v1/models/springs/versions/x/predict"]
)
def test_predict_with_an_unknown_model_reads_no_body(caller: AsgiCaller, path: str) -> None:
    check_problem(caller.post(b"not even JSON", path), 404, "unknown-model")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", PREDICT, {"POST"}),
        ("HEAD", PREDICT, {"POST"}),
        ("DELETE", "/v1/models", {"GET", "HEAD"}),
        ("OPTIONS", "/v1", {"GET", "HEAD"}),
    ],
)
def test_another_method_is_refused(
    caller: AsgiCaller, method: str, path: str, allow: set[str]
) -> None:
    reply = caller.run(caller.client.request(method, path))
    assert (reply.status_code, reply.headers["content-type"]) == (405, "application/problem+json")
    assert set(reply.headers["allow"].split(", ")) == allow


@pytest.mark.parametrize(
    "accept", ["text/html", "image/*", "application/json;q=0", "application/json; q=2", "json"]
)
def test_an_unacceptable_reply_is_refused_before_any_work(
    caller: AsgiCaller, backend: SpringBackend, accept: str
) -> None:
    check_problem(caller.predict(document(WATER), accept=accept), 406, "not-acceptable")
    check_problem(caller.get("/v1/models", accept=accept), 406, "not-acceptable")
    assert backend.calls == []


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", ""],
)
def test_another_media_type_is_refused(caller: AsgiCaller, content_type: str) -> None:
    reply = caller.post(WATER_BODY, content_type=content_type)
    check_problem(reply, 415, "unsupported-media-type")


@pytest.mark.parametrize("if_match", [f'"{OLDER}"', f'W/"{STABLE}"', STABLE, '"other", "another"'])
def test_another_version_is_refused_before_any_work(
    caller: AsgiCaller, backend: SpringBackend, if_match: str
) -> None:
    reply = caller.post(b"not even JSON", if_match=if_match)
    check_problem(reply, 412, "version-moved")
    assert backend.calls == []


@pytest.mark.parametrize("if_match", [f'"{STABLE}"', f'"{OLDER}", "{STABLE}"', "*"])
def test_the_pinned_version_answers(caller: AsgiCaller, if_match: str) -> None:
    assert caller.predict(document(WATER), if_match=if_match).status_code == 200


def test_an_alias_that_moves_meanwhile_never_answers_a_pinned_request(
    caller: AsgiCaller, backend: SpringBackend
) -> None:
    backend.alias_moves = True
    check_problem(caller.predict(document(WATER), if_match=f'"{STABLE}"'), 412, "version-moved")
    assert caller.predict(document(WATER)).headers["etag"] == f'"{OLDER}"'


STRICT = {
    "invalid-structure": (COINCIDENT, 422, None),
    "unsupported-element": ({**WATER, "numbers": [UNKNOWN_ELEMENT, 1, 1]}, 422, None),
    "unsupported-property": (WATER, 422, UnsupportedProperty("no charges")),
    "structure-too-large": (WATER, 413, StructureTooLarge("too many edges")),
    "evaluation-failed": (WATER, 500, EvaluationFailed("the model raised")),
    "non-finite-result": (WATER, 500, NonFiniteResult("infinite")),
}


@pytest.mark.parametrize("code", STRICT)
def test_strict_handling_answers_a_single_structures_error(
    caller: AsgiCaller, backend: SpringBackend, code: str
) -> None:
    structure, status, failure = STRICT[code]
    if failure is not None:
        backend.structure_failures[3] = failure
    lenient = caller.predict(document(structure))
    assert lenient.status_code == 200
    assert lenient.json()["results"][0]["error"]["code"] == code
    strict = caller.predict(document(structure), prefer="respond-async, handling=strict")
    problem = check_problem(strict, status, code)
    assert strict.headers["preference-applied"] == "handling=strict"
    assert strict.headers["etag"] == f'"{STABLE}"'
    assert all(fault["pointer"].startswith("/structures/0/") for fault in problem["errors"])


def test_strict_handling_leaves_several_structures_alone(caller: AsgiCaller) -> None:
    reply = caller.predict(document(COINCIDENT, WATER), prefer="handling=strict")
    assert reply.status_code == 200
    assert "preference-applied" not in reply.headers
