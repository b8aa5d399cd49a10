"""Every error is a problem object with its own code, and none repeats what was sent."""

from typing import Any

import orjson
import pytest

from posterion.api.app import create_app
from posterion.api.settings import ApiSettings
from posterion.errors import (
    DeadlineExceeded,
    Draining,
    EvaluationFailed,
    Forbidden,
    NonFiniteResult,
    NotReady,
    Overloaded,
    PosterionError,
    QuotaExceeded,
    StructureTooLarge,
    Unauthenticated,
    UnsupportedProperty,
)
from tests.support.asgi_caller import JSON, MSGPACK, PREDICT, AsgiCaller
from tests.support.fake_backend import OLDER, STABLE, UNKNOWN_ELEMENT, SpringBackend
from tests.support.requests import COINCIDENT, SALT, WATER, document

WATER_BODY = orjson.dumps(document(WATER))
SECRET = "tell-nobody"


def check_problem(reply: Any, status: int, code: str) -> dict[str, Any]:  # noqa: ANN401
    body: dict[str, Any] = reply.json()
    assert (reply.status_code, body["code"]) == (status, code)
    assert reply.headers["content-type"] == "application/problem+json"
    assert body["status"] == status
    assert body["type"] == f"urn:posterion:problem:{code}"
    assert body["instance"] == f"urn:request:{reply.headers['x-request-id']}"
    assert body.keys() == {
        "type",
        "title",
        "status",
        "detail",
        "instance",
        "code",
        "errors",
        "retryable",
    }
    assert len(body["errors"]) <= 10
    if status in (429, 503):
        assert int(reply.headers["retry-after"]) >= 1
        assert body["retryable"]
    return body


def with_first(**changes: object) -> dict[str, Any]:
    return document({**WATER, **changes}, WATER)


INVALID_REQUESTS: dict[str, tuple[object, list[str]]] = {
    "list": ([], []),
    "text": ("structures", []),
    "nothing": ({}, ["/structures"]),
    "no structures": (document(), ["/structures"]),
    "null structures": ({"structures": None}, ["/structures"]),
    "structure is text": (document("water"), ["/structures/0"]),
    "unknown field": ({**document(WATER), "colour": 1}, ["/colour"]),
    "unknown field inside": (with_first(velocities=[]), ["/structures/0/velocities"]),
    "unknown unit": (document(WATER, units={"length": "mile"}), ["/units/length"]),
    "unknown unit field": (document(WATER, units={"mass": "u"}), ["/units/mass"]),
    "unknown samples": (document(WATER, uncertainty={"samples": "some"}), ["/uncertainty/samples"]),
    "unknown output": (document(WATER, outputs=["dipole"]), ["/outputs/0"]),
    "no output": (document(WATER, outputs=[]), ["/outputs"]),
    "output twice": (document(WATER, outputs=["energy", "energy"]), ["/outputs"]),
    "precision": (document(WATER, precision="float16"), ["/precision"]),
    "n_samples 0": (document(WATER, n_samples=0), ["/n_samples"]),
    "n_samples text": (document(WATER, n_samples="2"), ["/n_samples"]),
    "n_samples true": (document(WATER, n_samples=True), ["/n_samples"]),
    "n_samples above": (document(WATER, n_samples=5), ["/n_samples"]),
    "one sample, uncertain": (document(WATER, n_samples=1), ["/n_samples"]),
    "samples unasked": (
        document(WATER, outputs=["energy"], uncertainty={"samples": "full"}),
        ["/uncertainty/samples"],
    ),
    "deadline 0": (document(WATER, deadline_ms=0), ["/deadline_ms"]),
    "deadline text": (document(WATER, deadline_ms="soon"), ["/deadline_ms"]),
    "no positions": (document({"numbers": [1]}), ["/structures/0/positions"]),
    "neither numbers nor symbols": (document({"positions": [[0, 0, 0]]}), ["/structures/0"]),
    "numbers and symbols": (with_first(symbols=["O", "H", "H"]), ["/structures/0"]),
    "numbers text": (with_first(numbers="OHH"), ["/structures/0/numbers"]),
    "numbers fraction": (with_first(numbers=[8, 1.0, 1]), ["/structures/0/numbers/1"]),
    "numbers true": (with_first(numbers=[8, 1, True]), ["/structures/0/numbers/2"]),
    "symbols number": (document({"symbols": [1], "positions": []}), ["/structures/0/symbols/0"]),
    "symbols text": (document({"symbols": "H", "positions": []}), ["/structures/0/symbols"]),
    "positions null": (with_first(positions=None), ["/structures/0/positions"]),
    "positions object": (with_first(positions={}), ["/structures/0/positions"]),
    "positions text": (
        with_first(positions=[[0, 0, 0], [1, 0, 0], [0, "1", 0]]),
        ["/structures/0/positions/2/1"],
    ),
    "positions true": (
        with_first(positions=[[0, 0, 0], [1, True, 0], [0, 1, 0]]),
        ["/structures/0/positions/1/1"],
    ),
    "positions null inside": (
        with_first(positions=[[0, 0, 0], None, [0, 1, 0]]),
        ["/structures/0/positions/1"],
    ),
    "raw positions in JSON": (
        with_first(positions={"dtype": "<f8", "shape": [0, 3], "data": ""}),
        ["/structures/0/positions/data"],
    ),
    "wrong type beside wrong shape": (
        document({"numbers": [[1]], "positions": [["x", 0, 0]]}),
        ["/structures/0/positions/0/0"],
    ),
    "cell text": (with_first(cell="cubic"), ["/structures/0/cell"]),
    "pbc numbers": (with_first(pbc=[1, 0, 0]), [f"/structures/0/pbc/{axis}" for axis in range(3)]),
    "pbc short": (with_first(pbc=[True]), ["/structures/0/pbc"]),
    "charge fraction": (with_first(charge=0.5), ["/structures/0/charge"]),
    "charge true": (with_first(charge=True), ["/structures/0/charge"]),
    "id number": (with_first(id=7), ["/structures/0/id"]),
    "id long": (with_first(id="x" * 257), ["/structures/0/id"]),
}


@pytest.mark.parametrize("name", INVALID_REQUESTS)
def test_an_invalid_request_names_the_place(caller: AsgiCaller, name: str) -> None:
    sent, pointers = INVALID_REQUESTS[name]
    problem = check_problem(caller.predict(sent), 422, "invalid-request")
    assert [fault["pointer"] for fault in problem["errors"]] == pointers
    assert not problem["retryable"]


RAW = {"dtype": "<f8", "shape": [1, 3], "data": bytes(24)}
BAD_RAW_ARRAYS: dict[str, tuple[object, str, str | None]] = {
    "object type": ({**RAW, "dtype": "|O"}, "invalid-request", "/dtype"),
    "complex type": ({**RAW, "dtype": "<c16"}, "invalid-request", "/dtype"),
    "type is a number": ({**RAW, "dtype": 8}, "invalid-request", "/dtype"),
    "shape is a number": ({**RAW, "shape": 3}, "invalid-request", "/shape"),
    "shape holds a boolean": ({**RAW, "shape": [True, 3]}, "invalid-request", "/shape"),
    "negative shape": ({**RAW, "shape": [-1, -3]}, "invalid-request", "/shape"),
    "three axes": ({**RAW, "shape": [1, 1, 3]}, "invalid-request", "/shape"),
    "data is a list": ({**RAW, "data": [0]}, "invalid-request", "/data"),
    "another field": ({**RAW, "order": "F"}, "invalid-request", ""),
    "one axis": ({**RAW, "shape": [3]}, "invalid-structure", ""),
    "two columns": ({**RAW, "shape": [1, 2], "data": bytes(16)}, "invalid-structure", ""),
    "short data": ({**RAW, "data": bytes(23)}, "invalid-structure", ""),
    "huge shape": ({**RAW, "shape": [2**62, 3]}, "structure-too-large", None),
    "huge columns": ({**RAW, "shape": [0, 2**62]}, "invalid-structure", ""),
}


@pytest.mark.parametrize("name", BAD_RAW_ARRAYS)
def test_a_raw_array_is_what_it_declares(caller: AsgiCaller, name: str) -> None:
    array, code, place = BAD_RAW_ARRAYS[name]
    asked = document({"numbers": [1], "positions": array})
    problem = caller.predict_msgpack(asked, prefer="handling=strict", accept=JSON).json()
    assert problem["code"] == code
    pointers = [fault["pointer"] for fault in problem["errors"]]
    assert pointers == ([] if place is None else [f"/structures/0/positions{place}"])


MALFORMED_JSON = {
    "empty": b"",
    "cut": WATER_BODY[:-3],
    "NaN": b'{"structures": [{"numbers": [1], "positions": [[NaN, 0, 0]]}]}',
    "Infinity": b'{"structures": [{"numbers": [1], "positions": [[Infinity, 0, 0]]}]}',
    "-Infinity": b'{"structures": [{"numbers": [1], "positions": [[-Infinity, 0, 0]]}]}',
    "1e999": b'{"structures": [{"numbers": [1], "positions": [[1e999, 0, 0]]}]}',
    "long integer": b'{"structures": [{"numbers": [' + b"9" * 5000 + b'], "positions": []}]}',
    "lone surrogate": b'{"structures": [{"id": "\\ud800"}]}',
    "UTF-16": '{"structures": []}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + WATER_BODY,
    "not UTF-8": b'{"structures": [{"id": "\xff"}]}',
    "deep": b"[" * 100_000,
    "deep, balanced": b"[" * 33 + b"]" * 33,
    "deep objects": b'{"a":' * 33 + b"1" + b"}" * 33,
    "two documents": WATER_BODY * 2,
    "trailing comma": b'{"structures": [],}',
}


@pytest.mark.parametrize("name", MALFORMED_JSON)
def test_what_is_not_json_is_malformed(caller: AsgiCaller, name: str) -> None:
    check_problem(caller.post(MALFORMED_JSON[name]), 400, "malformed-body")


def test_a_document_of_the_permitted_depth_is_read(caller: AsgiCaller) -> None:
    deepest = b"[" * 32 + b"]" * 32
    check_problem(caller.post(deepest), 422, "invalid-request")
    packed = caller.post(b"\x91" * 32 + b"\xc0", content_type=MSGPACK)
    check_problem(packed, 422, "invalid-request")
    brackets_in_text = orjson.dumps(document({**WATER, "id": '[{"\\' * 40}))
    assert caller.post(brackets_in_text).status_code == 200


MALFORMED_MSGPACK = {
    "empty": b"",
    "cut": b"\x81\xaastructures\x91\x82",
    "huge array": b"\xdd\xff\xff\xff\xff",
    "huge map": b"\xdf\xff\xff\xff\xff",
    "huge text": b"\xdb\xff\xff\xff\xffabc",
    "huge bytes": b"\xc6\xff\xff\xff\xffabc",
    "nested huge arrays": b"\xdd\x00\x00\x00\x20" * 30 + bytes(64),
    "extension": b"\x81\xaastructures\xd4\x01a",
    "timestamp": b"\x81\xaastructures\xd6\xff\x00\x00\x00\x00",
    "long extension": b"\xc7\x05\x01abcde",
    "reserved byte": b"\xc1",
    "number as key": b"\x81\x01\x02",
    "bytes as key": b"\x81\xc4\x01a\x02",
    "map as key": b"\x81\x80\x02",
    "key twice": b"\x82\xaastructures\x90\xaastructures\x90",
    "not UTF-8": b"\x81\xaastructures\xa1\xff",
    "lone surrogate": b"\xa3\xed\xa0\x80",
    "deep": b"\x91" * 33 + b"\xc0",
    "very deep": b"\x91" * 100_000 + b"\xc0",
    "two documents": b"\x80\x80",
}


@pytest.mark.parametrize("name", MALFORMED_MSGPACK)
def test_what_is_not_plain_msgpack_is_malformed(caller: AsgiCaller, name: str) -> None:
    reply = caller.post(MALFORMED_MSGPACK[name], content_type=MSGPACK)
    check_problem(reply, 400, "malformed-body")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Overloaded("the queue is full", retry_after_s=2.4), 503),
        (NotReady("loading"), 503),
        (Draining("shutting down"), 503),
        (DeadlineExceeded("too late"), 504),
        (QuotaExceeded("used up"), 429),
        (Unauthenticated("who are you"), 401),
        (Forbidden("not you"), 403),
    ],
)
def test_an_error_of_the_backend_keeps_its_code(
    caller: AsgiCaller, backend: SpringBackend, error: PosterionError, status: int
) -> None:
    backend.failure = error
    reply = caller.predict(document(WATER))
    check_problem(reply, status, error.code)
    if error.retry_after_s is not None:
        assert reply.headers["retry-after"] == "3"


@pytest.mark.parametrize("failure", [RuntimeError(SECRET), KeyError(SECRET), TimeoutError(SECRET)])
def test_a_defect_is_internal_and_keeps_its_secrets(
    caller: AsgiCaller, backend: SpringBackend, failure: Exception
) -> None:
    backend.failure = failure
    reply = caller.predict(document(WATER))
    check_problem(reply, 500, "internal")
    assert SECRET not in reply.text
    backend.failure = None
    assert caller.predict(document(WATER)).status_code == 200


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
    [("GET", PREDICT, "POST"), ("DELETE", "/v1/models", "GET"), ("OPTIONS", "/v1", "GET")],
)
def test_another_method_is_refused(caller: AsgiCaller, method: str, path: str, allow: str) -> None:
    reply = caller.run(caller.client.request(method, path))
    check_problem(reply, 405, "method-not-allowed")
    assert reply.headers["allow"] == allow


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


def test_at_most_ten_faults_are_listed(caller: AsgiCaller) -> None:
    many = document(*({**WATER, "charge": "x"} for _ in range(60)))
    assert len(check_problem(caller.predict(many), 422, "invalid-request")["errors"]) == 10
    arrays = document(*({**WATER, "positions": "x"} for _ in range(60)))
    assert len(check_problem(caller.predict(arrays), 422, "invalid-request")["errors"]) == 10


ECHOES = {
    "id": {**WATER, "id": SECRET * 30},
    "symbols": {"symbols": [SECRET], "positions": [[0, 0, 0]]},
    "numbers": {**WATER, "numbers": SECRET},
    "positions": {**WATER, "positions": [[SECRET]]},
    "pbc": {**WATER, "pbc": SECRET},
    "charge": {**WATER, "charge": SECRET},
    "field": {**WATER, SECRET * 30: 1},
}


@pytest.mark.parametrize("name", ECHOES)
def test_a_problem_never_repeats_what_was_sent(caller: AsgiCaller, name: str) -> None:
    reply = caller.predict(document(ECHOES[name]))
    assert "error" in reply.text
    assert SECRET not in reply.text
    malformed = caller.post(f'{{"structures": "{SECRET}" {SECRET}'.encode())
    assert SECRET not in malformed.text


def test_more_structures_than_the_limit_are_too_large(caller: AsgiCaller) -> None:
    assert caller.predict(document(*[WATER] * 64)).status_code == 200
    check_problem(caller.predict(document(*[WATER] * 65)), 413, "too-large")


def test_a_crowded_document_is_refused_before_it_is_built() -> None:
    app = create_app(ApiSettings(max_body_bytes=16 * 1024), SpringBackend())
    with AsgiCaller(app) as caller:
        check_problem(caller.post(b"[" + b"[]," * 4000 + b"[]]"), 413, "too-large")
        check_problem(caller.post(b'["' + b'","' * 4000 + b'"]'), 413, "too-large")
        for value in (b"\x90", b"\x80", b"\xa0", b"\xc0"):
            crowd = b"\xdc\x0f\xa0" + value * 4000
            check_problem(caller.post(crowd, content_type=MSGPACK), 413, "too-large")


def test_salt_is_accepted(caller: AsgiCaller) -> None:
    assert caller.predict(document(SALT)).status_code == 200
