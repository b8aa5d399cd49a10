"""Labels teach the caller's own three numbers; the service remembers nothing."""

from typing import Any

import msgpack
import pytest

from posterion.uncertainty.confidence import EnergyConfidence
from tests.support.asgi_caller import MSGPACK, AsgiCaller
from tests.support.fake_backend import OLDER, STABLE, UNKNOWN_ELEMENT, SpringBackend
from tests.support.requests import COINCIDENT, SALT, WATER, document

LABELS = "/v1/models/springs/versions/stable/labels"
EV_PER_HARTREE = 27.211386024367243
THRESHOLD = 0.5


def moved(by: float) -> dict[str, Any]:
    positions = [[x + by, y, z] for x, y, z in WATER["positions"]]
    return {**WATER, "positions": positions}


FRAMES = [moved(by) for by in (0.0, 0.1, 0.2, 0.3)]


def predicted(caller: AsgiCaller) -> list[tuple[float, float]]:
    """Energy and total standard deviation of every frame, as the service predicts them."""
    results = caller.predict(document(*FRAMES)).json()["results"]
    return [(r["energy"], r["uncertainty"]["energy"]["total"]) for r in results]


def labelled(caller: AsgiCaller, *frames: object, **fields: object) -> dict[str, Any]:
    reply = caller.predict(document(*frames, threshold=THRESHOLD, **fields), LABELS)
    assert reply.status_code == 200, reply.json()
    found: dict[str, Any] = reply.json()
    return found


def test_the_reply_follows_the_law_of_the_labels_in_their_order(caller: AsgiCaller) -> None:
    values = predicted(caller)
    energies = [-100.0, values[1][0] - 100.3, None, values[3][0] - 99.0]
    reply = labelled(caller, *FRAMES, energies=energies)
    state = EnergyConfidence()
    for (energy, std), reference, result in zip(values, energies, reply["results"], strict=True):
        expected = state.probability_within(THRESHOLD, std=std)
        assert result["confidence"] == pytest.approx(expected)
        assert (result["energy"], result["std"]) == (pytest.approx(energy), pytest.approx(std))
        if reference is None:
            assert result["residual"] is None
            continue
        state = state.with_label(reference=reference, predicted=energy, std=std)
        assert state.offset is not None
        assert result["residual"] == pytest.approx(reference - energy - state.offset)
    found = reply["state"]
    assert (found["digest"], found["n"]) == (STABLE, 2)
    assert found["sum_squares"] == pytest.approx(state.sum_squares)
    assert found["offset"] == pytest.approx(state.offset)


def test_labels_one_by_one_teach_what_they_teach_together(caller: AsgiCaller) -> None:
    energies = [1.0, 1.2, 0.9, 1.1]
    together = labelled(caller, *FRAMES, energies=energies)["state"]
    state: dict[str, Any] = {
        "digest": STABLE,
        "n": 0,
        "sum_squares": 0.0,
        "offset": None,
        "composition": None,
    }
    for frame, energy in zip(FRAMES, energies, strict=True):
        state = labelled(caller, frame, energies=[energy], state=state)["state"]
    assert state["n"] == together["n"] == 3
    assert state["sum_squares"] == pytest.approx(together["sum_squares"])
    assert state["offset"] == pytest.approx(together["offset"])


def test_surprising_labels_lower_the_confidence(caller: AsgiCaller) -> None:
    (energy, std), *_ = predicted(caller)
    zero = {"digest": STABLE, "n": 0, "sum_squares": 0.0, "offset": 0.0, "composition": None}
    right, wrong = (
        labelled(
            caller,
            FRAMES[0],
            FRAMES[0],
            energies=[energy + z * std, None],
            state=zero,
        )["results"][1]["confidence"]
        for z in (0.0, 10.0)
    )
    assert wrong < right


def test_the_units_of_the_request_hold_for_every_energy(caller: AsgiCaller) -> None:
    in_ev = labelled(caller, *FRAMES, energies=[2.0, 3.0, None, 2.5])
    hartree = {"length": "angstrom", "energy": "hartree"}
    asked = document(
        *FRAMES,
        energies=[e if e is None else e / EV_PER_HARTREE for e in (2.0, 3.0, None, 2.5)],
        threshold=THRESHOLD / EV_PER_HARTREE,
        units=hartree,
    )
    found = caller.predict(asked, LABELS).json()
    assert found["state"]["sum_squares"] == pytest.approx(in_ev["state"]["sum_squares"], rel=1e-6)
    for one, other in zip(found["results"], in_ev["results"], strict=True):
        assert one["confidence"] == pytest.approx(other["confidence"])
        assert one["std"] * EV_PER_HARTREE == pytest.approx(other["std"], rel=1e-6)
    assert found["units"]["energy"] == "hartree"


def test_a_structure_that_errs_teaches_nothing(caller: AsgiCaller) -> None:
    unknown = {**WATER, "numbers": [UNKNOWN_ELEMENT, 1, 1]}
    zero = {"digest": STABLE, "n": 0, "sum_squares": 0.0, "offset": 0.0, "composition": None}
    reply = labelled(caller, COINCIDENT, unknown, WATER, energies=[1.0, 1.0, 1.0], state=zero)
    assert [result["status"] for result in reply["results"]] == ["error", "error", "ok"]
    assert [r["error"] and r["error"]["code"] for r in reply["results"]] == [
        "invalid-structure",
        "unsupported-element",
        None,
    ]
    assert reply["state"]["n"] == 1


def test_msgpack_carries_the_same_document(caller: AsgiCaller) -> None:
    asked = document(*FRAMES, energies=[1.0, 2.0, None, 1.5], threshold=THRESHOLD)
    reply = caller.post(msgpack.packb(asked), LABELS, content_type=MSGPACK)
    assert reply.headers["content-type"] == MSGPACK
    assert msgpack.unpackb(reply.content) == caller.predict(asked, LABELS).json()


def test_a_state_of_another_version_is_refused(caller: AsgiCaller, backend: SpringBackend) -> None:
    state = {"digest": OLDER, "n": 3, "sum_squares": 2.0, "offset": 0.0, "composition": None}
    asked = document(WATER, energies=[1.0], threshold=THRESHOLD, state=state)
    reply = caller.predict(asked, LABELS)
    assert (reply.status_code, reply.json()["code"]) == (412, "version-moved")
    assert backend.calls == []
    there = f"/v1/models/springs/versions/{OLDER}/labels"
    assert caller.predict(asked, there).status_code == 200


def test_the_pin_of_a_request_is_held(caller: AsgiCaller) -> None:
    asked = document(WATER, energies=[1.0], threshold=THRESHOLD)
    assert caller.predict(asked, LABELS, if_match=f'"{STABLE}"').headers["etag"] == f'"{STABLE}"'
    assert caller.predict(asked, LABELS, if_match=f'"{OLDER}"').status_code == 412


GOOD_STATE = {"digest": STABLE, "n": 3, "sum_squares": 2.0, "offset": 0.0, "composition": None}


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"energies": [1.0]}, "/energies"),
        ({"energies": [1.0, "2.0"]}, "/energies/1"),
        ({"energies": [1.0, 1e13]}, "/energies/1"),
        ({"threshold": 0.0}, "/threshold"),
        ({"threshold": None}, "/threshold"),
        ({"outputs": ["energy"]}, "/outputs"),
        ({"state": {**GOOD_STATE, "n": -1}}, "/state/n"),
        ({"state": {**GOOD_STATE, "sum_squares": -1e-9}}, "/state/sum_squares"),
        ({"state": {**GOOD_STATE, "digest": "stable"}}, "/state/digest"),
        ({"state": {**GOOD_STATE, "more": 1}}, "/state/more"),
        ({"state": {**GOOD_STATE, "composition": "water"}}, "/state/composition"),
        ({"state": {**GOOD_STATE, "offset": 1.0}}, "/state/composition"),
        ({"state": {**GOOD_STATE, "offset": None, "composition": "H2O"}}, "/state/composition"),
    ],
)
def test_a_wrong_field_is_named(caller: AsgiCaller, wrong: dict[str, Any], pointer: str) -> None:
    asked = {**document(WATER, WATER, energies=[1.0, 2.0], threshold=THRESHOLD), **wrong}
    reply = caller.predict(asked, LABELS)
    assert reply.status_code == 422
    assert [fault["pointer"] for fault in reply.json()["errors"]] == [pointer]


def test_compositions_mix_where_the_zeros_are_the_same(caller: AsgiCaller) -> None:
    reply = labelled(caller, WATER, SALT, energies=[1.0, 2.0], state=GOOD_STATE)
    assert reply["state"]["n"] == 5


def test_a_label_of_another_composition_is_refused_and_teaches_nothing(caller: AsgiCaller) -> None:
    """Also of twice the same molecule: an offset grows with the number of atoms."""
    learnt = labelled(caller, *FRAMES[:2], energies=[-100.0, -100.3])["state"]
    assert learnt["composition"] == "H2O"
    doubled = {
        "numbers": WATER["numbers"] * 2,
        "positions": [*WATER["positions"], *([x + 5.0, y, z] for x, y, z in WATER["positions"])],
    }
    reply = labelled(caller, SALT, doubled, FRAMES[2], energies=[1.0, 2.0, None], state=learnt)
    *others, own = reply["results"]
    assert [result["error"]["code"] for result in others] == ["composition-mismatch"] * 2
    assert [result["error"]["errors"][0]["pointer"] for result in others] == [
        "/structures/0",
        "/structures/1",
    ]
    assert "H2O" in others[0]["error"]["detail"]
    assert own["status"] == "ok"
    assert reply["state"] == learnt
    counted = 'posterion_item_errors_total{code="composition-mismatch",model="springs"} 2.0'
    assert counted in caller.get("/metrics").text


def test_the_first_label_fixes_the_composition_for_the_rest_of_its_request(
    caller: AsgiCaller,
) -> None:
    unknown = {**WATER, "numbers": [UNKNOWN_ELEMENT, 1, 1]}
    reply = labelled(
        caller, unknown, SALT, WATER, SALT, FRAMES[1], energies=[9.0, None, 1.0, 1.0, 1.2]
    )
    assert [result["status"] for result in reply["results"]] == ["error", "ok", "ok", "error", "ok"]
    assert reply["results"][3]["error"]["code"] == "composition-mismatch"
    assert (reply["state"]["composition"], reply["state"]["n"]) == ("H2O", 1)


@pytest.mark.parametrize(
    ("structure", "code"), [(COINCIDENT, "invalid-structure"), (SALT, "composition-mismatch")]
)
def test_strict_handling_answers_the_error_of_the_only_structure(
    caller: AsgiCaller, structure: dict[str, Any], code: str
) -> None:
    state = {**GOOD_STATE, "composition": "H2O"}
    asked = document(structure, energies=[1.0], threshold=THRESHOLD, state=state)
    assert caller.predict(asked, LABELS).status_code == 200
    reply = caller.predict(asked, LABELS, prefer="handling=strict")
    assert (reply.status_code, reply.json()["code"]) == (422, code)
    assert reply.headers["preference-applied"] == "handling=strict"
