"""One structure never matters to another of the same request."""

import numpy as np
import pytest

from posterion.errors import EvaluationFailed
from tests.support.asgi_caller import AsgiCaller
from tests.support.fake_backend import (
    STABLE,
    UNKNOWN_ELEMENT,
    SpringBackend,
)
from tests.support.requests import COINCIDENT, SALT, WATER, document

BAD_STRUCTURES = {
    "coincident": (COINCIDENT, "invalid-structure", "/positions/1"),
    "empty": ({"numbers": [], "positions": []}, "invalid-structure", "/numbers"),
    "ragged": ({"numbers": [1, 1], "positions": [[0, 0, 0], [1]]}, "invalid-structure", ""),
    "flat": ({"numbers": [1], "positions": [0, 0, 0]}, "invalid-structure", "/positions"),
    "deep": ({"numbers": [1], "positions": [[[0, 0, 0]]]}, "invalid-structure", "/positions"),
    "count": ({"numbers": [1, 1], "positions": [[0, 0, 0]]}, "invalid-structure", "/positions"),
    "nested numbers": ({"numbers": [[1]], "positions": [[0, 0, 0]]}, "invalid-structure", ""),
    "no element 0": ({"numbers": [0], "positions": [[0, 0, 0]]}, "invalid-structure", "/numbers/0"),
    "huge number": ({"numbers": [2**64 - 1], "positions": [[0, 0, 0]]}, "invalid-structure", ""),
    "far away": ({"numbers": [1], "positions": [[1e300, 0, 0]]}, "invalid-structure", ""),
    "no symbol": ({"symbols": ["Qq"], "positions": [[0, 0, 0]]}, "invalid-structure", "/symbols/0"),
    "no symbols": ({"symbols": [], "positions": []}, "invalid-structure", "/symbols"),
    "dummy atom": ({"symbols": ["X"], "positions": [[0, 0, 0]]}, "invalid-structure", ""),
    "nested symbols": ({"symbols": [["H"]], "positions": [[0, 0, 0]]}, "invalid-structure", ""),
    "no cell": ({**WATER, "pbc": [True, False, False]}, "invalid-structure", "/cell"),
    "flat cell": ({**SALT, "cell": [[1, 0, 0], [2, 0, 0], [0, 0, 1]]}, "invalid-structure", ""),
    "short cell": ({**SALT, "cell": [[1, 0, 0]]}, "invalid-structure", "/cell"),
    "too large": ({"numbers": [1] * 1001, "positions": []}, "structure-too-large", ""),
    "element": (
        {"numbers": [UNKNOWN_ELEMENT], "positions": [[0, 0, 0]]},
        "unsupported-element",
        "",
    ),
}


@pytest.mark.parametrize("name", BAD_STRUCTURES)
def test_one_bad_structure_never_fails_its_neighbours(caller: AsgiCaller, name: str) -> None:
    bad, code, pointer = BAD_STRUCTURES[name]
    alone = caller.predict(document(WATER)).json()["results"][0]
    reply = caller.predict(document(WATER, bad, SALT))
    assert reply.status_code == 200
    first, second, third = reply.json()["results"]
    assert {**first, "id": "0"} == alone
    assert third["status"] == "flagged"
    assert second["status"] == "error"
    assert second["error"]["code"] == code
    assert all(second[field] is None for field in ("energy", "forces", "stress", "uncertainty"))
    pointers = [fault["pointer"] for fault in second["error"]["errors"]]
    assert all(found.startswith("/structures/1") for found in pointers)
    if pointer:
        assert pointers[0] == f"/structures/1{pointer}"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("as_list", [True, False])
def test_a_non_finite_coordinate_in_msgpack_is_that_structures_error(
    caller: AsgiCaller, value: float, as_list: bool
) -> None:
    positions = np.array([[0.0, value, 0.0]])
    bad = {"numbers": [1], "positions": positions.tolist() if as_list else positions}
    reply = caller.predict_msgpack(document(bad, WATER), accept="application/json")
    first, second = reply.json()["results"]
    assert first["error"]["code"] == "invalid-structure"
    assert first["error"]["errors"][0]["pointer"] == "/structures/0/positions/0"
    assert second["status"] == "ok"


def test_an_error_of_the_backend_takes_its_structures_place(
    caller: AsgiCaller, backend: SpringBackend
) -> None:
    backend.structure_failures[2] = failure = EvaluationFailed("the model raised")
    results = caller.predict(document(WATER, SALT, WATER)).json()["results"]
    assert [result["status"] for result in results] == ["ok", "error", "ok"]
    assert results[1]["error"]["detail"] == failure.detail
    assert results[1]["error"]["status"] == 500


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e200])
def test_a_non_finite_result_is_an_error_and_never_null(
    caller: AsgiCaller, backend: SpringBackend, value: float
) -> None:
    backend.poison = value
    result = caller.predict(document(WATER)).json()["results"][0]
    assert result["error"]["code"] == "non-finite-result"


def test_a_request_of_bad_structures_only_never_reaches_the_backend(
    caller: AsgiCaller, backend: SpringBackend
) -> None:
    body = caller.predict(document(COINCIDENT, COINCIDENT)).json()
    assert [result["status"] for result in body["results"]] == ["error", "error"]
    assert body["model"]["digest"] == STABLE
    assert backend.calls == []


@pytest.mark.parametrize("seed", range(8))
def test_results_keep_the_order_of_the_request(caller: AsgiCaller, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(5).tolist()
    entries = [WATER, SALT, COINCIDENT, {**WATER, "numbers": [UNKNOWN_ELEMENT, 1, 1]}, WATER]
    structures = [{"id": f"s{index}", **entries[index]} for index in order]
    results = caller.predict(document(*structures)).json()["results"]
    assert [result["id"] for result in results] == [f"s{index}" for index in order]
    statuses = {result["id"]: result["status"] for result in results}
    assert statuses == {"s0": "ok", "s1": "flagged", "s2": "error", "s3": "error", "s4": "ok"}
