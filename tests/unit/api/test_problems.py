"""Every error is a problem object with its own code, and none repeats what was sent."""

from typing import Any

import pytest

from posterion.errors import (
    DeadlineExceeded,
    Draining,
    Forbidden,
    NotReady,
    Overloaded,
    PosterionError,
    QuotaExceeded,
    Unauthenticated,
)
from tests.support.asgi_caller import AsgiCaller
from tests.support.fake_backend import SpringBackend
from tests.support.problems import check_problem
from tests.support.requests import WATER, document


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
    "samples unasked": (
        document(WATER, outputs=["energy"], uncertainty={"samples": "full"}),
        ["/uncertainty/samples"],
    ),
    "deadline 0": (document(WATER, deadline_ms=0), ["/deadline_ms"]),
    "priority other": (document(WATER, priority="urgent"), ["/priority"]),
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


SECRET = "tell-nobody"


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


def test_at_most_ten_faults_are_listed(caller: AsgiCaller) -> None:
    many = document(*({**WATER, "charge": "x"} for _ in range(60)))
    assert len(check_problem(caller.predict(many), 422, "invalid-request")["errors"]) == 10
    arrays = document(*({**WATER, "positions": "x"} for _ in range(60)))
    assert len(check_problem(caller.predict(arrays), 422, "invalid-request")["errors"]) == 10


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
