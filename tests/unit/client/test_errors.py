"""Every code of the service has its own class, and no answer is met without an explanation."""

import pickle
from typing import Any

import httpx
import pytest

from posterion_client import (
    Client,
    ConnectionFailed,
    DeadlineExceeded,
    Draining,
    EvaluationFailed,
    Fault,
    Forbidden,
    InternalError,
    InvalidReply,
    InvalidRequest,
    InvalidStructure,
    MalformedBody,
    MethodNotAllowed,
    ModelChanged,
    NonFiniteResult,
    NotAcceptable,
    NotFound,
    NotReady,
    Overloaded,
    PosterionError,
    Problem,
    QuotaExceeded,
    RequestError,
    RetryPolicy,
    ServiceError,
    Structure,
    StructureError,
    StructureTooLarge,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnknownModel,
    UnsupportedElement,
    UnsupportedMediaType,
    UnsupportedProperty,
)
from posterion_client._answer import Answer
from posterion_client._refusals import retry_after_s
from tests.unit.client.stand_in import StandIn, failed, problem

ATOM = Structure(symbols=["H"], positions=[[0.0, 0.0, 0.0]])
ONCE = RetryPolicy(budget_s=0)


def answer_to(response: httpx.Response | Exception) -> PosterionError:
    """The error a client raises for one answer."""
    with (
        Client(transport=StandIn(script=[response]).transport, retry=ONCE) as client,
        pytest.raises(PosterionError) as caught,
    ):
        client.predict(ATOM)
    return caught.value


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "malformed-body", MalformedBody),
        (401, "unauthenticated", Unauthenticated),
        (403, "forbidden", Forbidden),
        (404, "not-found", NotFound),
        (404, "unknown-model", UnknownModel),
        (405, "method-not-allowed", MethodNotAllowed),
        (406, "not-acceptable", NotAcceptable),
        (412, "version-moved", ModelChanged),
        (413, "too-large", TooLarge),
        (415, "unsupported-media-type", UnsupportedMediaType),
        (422, "invalid-request", InvalidRequest),
        (429, "quota", QuotaExceeded),
        (500, "internal", InternalError),
        (503, "overloaded", Overloaded),
        (503, "not-ready", NotReady),
        (503, "draining", Draining),
        (504, "deadline", DeadlineExceeded),
    ],
)
def test_code_of_a_request_becomes_its_class(
    status: int, code: str, kind: type[PosterionError]
) -> None:
    error = answer_to(problem(status, code, detail="so it is"))
    assert type(error) is kind
    assert (error.code, error.status, error.detail) == (code, status, "so it is")
    assert error.faults == (Fault(pointer="/structures/3/positions/0/1", detail="not a number"),)
    assert error.request_id == "abc"
    assert error.retryable == (status in (429, 503, 504))


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("invalid-structure", 422, InvalidStructure),
        ("unsupported-element", 422, UnsupportedElement),
        ("unsupported-property", 422, UnsupportedProperty),
        ("structure-too-large", 413, StructureTooLarge),
        ("evaluation-failed", 500, EvaluationFailed),
        ("non-finite-result", 500, NonFiniteResult),
        ("of-a-later-release", 422, StructureError),
    ],
)
def test_code_of_a_structure_becomes_its_class(
    code: str, status: int, kind: type[PosterionError]
) -> None:
    def fail(document: dict[str, Any]) -> None:
        document["results"][0] = failed("0", code, status)

    with Client(transport=StandIn(change=fail).transport) as client:
        with pytest.raises(StructureError) as caught:
            client.predict(ATOM)
        (returned,) = client.predict_many([ATOM], on_error="return")
    assert type(caught.value) is type(returned) is kind
    assert (caught.value.code, caught.value.status) == (code, status)
    assert caught.value.detail == f"refused as {code}"
    assert caught.value.faults[0].pointer == "/numbers/0", "relative to the structure"
    assert caught.value.index is None
    assert isinstance(returned, StructureError)
    assert returned.index == 0


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (418, RequestError),
        (429, QuotaExceeded),
        (500, Unavailable),
        (502, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
        (507, ServiceError),
    ],
)
@pytest.mark.parametrize("media", ["text/html", "application/problem+json", ""])
def test_error_page_of_a_proxy_is_understood_by_its_status(
    status: int, kind: type[PosterionError], media: str
) -> None:
    page = "<html><body>Bad\n gateway</body></html>"
    error = answer_to(httpx.Response(status, headers={"content-type": media}, content=page))
    assert type(error) is kind
    assert error.status == status
    assert "<html><body>Bad gateway" in error.detail, "the page is shown on one line"
    assert "http://127.0.0.1:8000/v1/predict" in error.detail


def test_unknown_code_falls_back_to_the_status_and_keeps_its_name() -> None:
    error = answer_to(problem(503, "out-for-lunch"))
    assert type(error) is Unavailable
    assert error.code == "out-for-lunch"


def test_problem_without_detail_uses_its_title() -> None:
    response = httpx.Response(409, json={"code": "conflict", "title": "Conflict"})
    assert answer_to(response).detail == "Conflict"


@pytest.mark.parametrize("status", [301, 307, 308])
def test_redirect_says_where_it_points(status: int) -> None:
    error = answer_to(httpx.Response(status, headers={"location": "https://elsewhere/"}))
    assert isinstance(error, InvalidReply)
    assert "https://elsewhere/" in error.detail


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-4"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        (
            {
                "date": "Wed, 21 Oct 2026 07:28:00 GMT",
                "retry-after": "Wed, 21 Oct 2026 07:28:09 GMT",
            },
            9.0,
        ),
        (
            {
                "date": "Wed, 21 Oct 2026 07:28:00 GMT",
                "retry-after": "Wed, 21 Oct 2026 07:00:00 GMT",
            },
            None,
        ),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(
    headers: dict[str, str], expected: float | None
) -> None:
    answer = Answer(url="", status=503, headers=headers, content=b"")
    assert retry_after_s(answer) == expected


def test_error_survives_pickling() -> None:
    error = answer_to(problem(503, "overloaded", headers={"retry-after": "2"}))
    error.attempts = 4
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - made here
    assert type(copy) is Overloaded
    assert str(copy) == str(error)
    assert (copy.retry_after_s, copy.status, copy.faults) == (2.0, 503, error.faults)


def test_message_names_structure_place_attempts_and_request() -> None:
    error = answer_to(problem(422, "invalid-request", detail="no"))
    error.index, error.attempts = 5, 3
    assert str(error) == (
        "invalid-request (structure 5): no; /structures/3/positions/0/1: not a number "
        "[gave up after 3 attempts] [request abc]"
    )


def test_message_says_nothing_twice_and_stays_short() -> None:
    faults = tuple(Fault(pointer=f"/positions/{i}", detail=f"bad {i}") for i in range(9))
    problem_said = Problem(code="invalid-structure", faults=faults)
    error = InvalidStructure("/positions/0: bad 0", problem=problem_said)
    assert str(error) == (
        "invalid-structure: /positions/0: bad 0; /positions/1: bad 1; /positions/2: bad 2; "
        "/positions/3: bad 3; and 5 more places"
    )


def test_refused_connection_names_the_address() -> None:
    error = answer_to(httpx.ConnectError("refused"))
    assert isinstance(error, ConnectionFailed)
    assert "http://127.0.0.1:8000/v1/predict: refused" in str(error)
    assert isinstance(error.__cause__, httpx.ConnectError)
