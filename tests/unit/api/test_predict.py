"""Laws of predict: what is asked in any unit and encoding is answered the same."""

import numpy as np
import orjson
import pytest

from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.structure import Structure
from posterion.structures.units import ANGSTROM_PER, EV_PER, UnitSystem
from tests.support.asgi_caller import MSGPACK, AsgiCaller, read_msgpack
from tests.support.fake_backend import (
    FORCE_THRESHOLD,
    OLDER,
    STABLE,
    SpringBackend,
    spring_prediction,
)
from tests.support.requests import COINCIDENT, SALT, WATER, document

ROUNDING = 1e-13
"""Relative error of a few float64 multiplications."""


def water() -> Structure:
    return Structure(
        atomic_numbers=np.array(WATER["numbers"]), positions=np.array(WATER["positions"])
    )


def test_a_reply_says_what_the_backend_answered(caller: AsgiCaller) -> None:
    reply = caller.predict(document({"id": "water", **WATER}))
    body = reply.json()
    result = body["results"][0]
    truth = spring_prediction(water(), EvaluationOptions())
    assert truth.uncertainty is not None
    assert reply.status_code == 200
    assert body["model"] == {
        "name": "springs",
        "version": STABLE[7:23],
        "digest": STABLE,
        "n_samples": 4,
        "engine": "springs",
        "engine_deviation": None,
    }
    assert result["id"] == "water"
    assert result["status"] == "ok"
    assert result["energy"] == truth.energy
    assert result["forces"] == truth.forces.tolist()
    assert result["stress"] is None
    assert result["error"] is None
    uncertainty = result["uncertainty"]
    assert uncertainty["forces"]["epistemic"] == truth.uncertainty.forces_epistemic.tolist()
    assert uncertainty["forces"]["total"] == truth.uncertainty.forces_total.tolist()
    assert uncertainty["forces"]["argmax_atom"] == truth.uncertainty.argmax_atom == 2
    assert uncertainty["energy"]["total"] == truth.uncertainty.energy_total
    assert uncertainty["samples"] is None
    assert body["timing_ms"]["evaluate"] == 3.0


def test_headers_name_the_version_and_the_request(caller: AsgiCaller) -> None:
    reply = caller.predict(document(WATER), x_request_id="run-7:step-12")
    assert reply.headers["etag"] == f'"{STABLE}"'
    assert reply.headers["posterion-model"] == f"springs@{STABLE[7:23]}"
    assert reply.headers["x-request-id"] == "run-7:step-12"


@pytest.mark.parametrize("offered", ["", "x" * 129, "two words", "-dash", 'quote"d'])
def test_an_unfit_request_id_is_replaced(caller: AsgiCaller, offered: str) -> None:
    reply = caller.predict(document(WATER), x_request_id=offered)
    made = reply.headers["x-request-id"]
    assert made != offered
    assert len(made) == 32


def test_json_carries_float64_exactly(caller: AsgiCaller, backend: SpringBackend) -> None:
    positions = np.random.default_rng(3).normal(scale=40.0, size=(20, 3))
    reply = caller.predict(document({"numbers": [1] * 20, "positions": positions.tolist()}))
    (structure,), _, _ = backend.calls[0]
    assert np.array_equal(structure.positions, positions)
    truth = spring_prediction(structure, EvaluationOptions())
    assert np.array_equal(np.array(reply.json()["results"][0]["forces"]), truth.forces)


@pytest.mark.parametrize("samples", ["none", "full"])
def test_json_and_msgpack_give_the_same_answer(caller: AsgiCaller, samples: str) -> None:
    asked = document(
        WATER,
        SALT,
        COINCIDENT,
        outputs=["energy", "forces", "stress", "uncertainty"],
        uncertainty={"samples": samples},
    )
    in_json = caller.predict(asked, x_request_id="same").json()
    raw_arrays = orjson.loads(orjson.dumps(asked))
    for entry in raw_arrays["structures"]:
        entry["positions"] = np.array(entry["positions"], dtype=np.float64)
        if "numbers" in entry:
            entry["numbers"] = np.array(entry["numbers"], dtype=np.uint8)
        if "cell" in entry:
            entry["cell"] = np.array(entry["cell"], dtype=np.float64)
    reply = caller.predict_msgpack(raw_arrays, x_request_id="same")
    assert reply.headers["content-type"] == MSGPACK
    in_msgpack = read_msgpack(reply.content)
    assert in_msgpack["results"][0]["forces"].dtype == np.float64
    plain = orjson.loads(orjson.dumps(in_msgpack, option=orjson.OPT_SERIALIZE_NUMPY))
    plain.pop("timing_ms")
    in_json.pop("timing_ms")
    assert plain == in_json


def test_msgpack_with_plain_lists_equals_raw_arrays(caller: AsgiCaller) -> None:
    as_lists = caller.predict_msgpack(document(WATER), accept="application/json").json()
    as_json = caller.predict(document(WATER)).json()
    assert as_lists["results"] == as_json["results"]


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", "<i8"])
def test_raw_positions_of_any_number_type_are_read(
    caller: AsgiCaller, backend: SpringBackend, dtype: str
) -> None:
    positions = np.array([[0, 0, 0], [1, 2, 3]], dtype=dtype)
    numbers = np.array([1, 6], dtype=">i4")
    reply = caller.predict_msgpack(document({"numbers": numbers, "positions": positions}))
    assert reply.status_code == 200
    (structure,), _, _ = backend.calls[0]
    assert structure.positions.tolist() == [[0, 0, 0], [1, 2, 3]]
    assert structure.atomic_numbers.tolist() == [1, 6]


@pytest.mark.parametrize("length", list(ANGSTROM_PER))
@pytest.mark.parametrize("energy", list(EV_PER))
def test_units_convert_both_ways(caller: AsgiCaller, length: str, energy: str) -> None:
    units = UnitSystem(length=length, energy=energy)  # type: ignore[arg-type]
    options = {
        "outputs": ["energy", "forces", "stress", "uncertainty"],
        "uncertainty": {"samples": "full"},
    }
    plain = caller.predict(document(SALT, **options)).json()["results"][0]
    scaled = {
        **SALT,
        "positions": (np.array(SALT["positions"]) / units.angstrom).tolist(),
        "cell": (np.array(SALT["cell"]) / units.angstrom).tolist(),
    }
    asked = document(scaled, units={"length": length, "energy": energy}, **options)
    body = caller.predict(asked).json()
    result = body["results"][0]
    assert body["units"] == {
        "length": length,
        "energy": energy,
        "forces": f"{energy}/{length}",
        "stress": f"{energy}/{length}^3",
    }
    force = EV_PER[units.energy] / ANGSTROM_PER[units.length]
    stress = EV_PER[units.energy] / ANGSTROM_PER[units.length] ** 3
    for path, factor in {
        ("energy",): units.ev,
        ("forces",): force,
        ("stress",): stress,
        ("uncertainty", "energy", "epistemic"): units.ev,
        ("uncertainty", "energy", "aleatoric"): units.ev,
        ("uncertainty", "energy", "total"): units.ev,
        ("uncertainty", "forces", "epistemic"): force,
        ("uncertainty", "forces", "aleatoric"): force,
        ("uncertainty", "forces", "total"): force,
        ("uncertainty", "forces", "max"): force,
        ("uncertainty", "forces", "rms"): force,
        ("uncertainty", "samples", "energies"): units.ev,
        ("uncertainty", "samples", "forces"): force,
    }.items():
        ours, theirs = plain, result
        for key in path:
            ours, theirs = ours[key], theirs[key]
        np.testing.assert_allclose(np.array(theirs) * factor, ours, rtol=ROUNDING, atol=ROUNDING)
    high, close = result["flags"]
    assert high["unit"] == f"{energy}/{length}"
    assert high["threshold"] * force == pytest.approx(FORCE_THRESHOLD, rel=ROUNDING)
    assert high["value"] == result["uncertainty"]["forces"]["max"]
    assert close["unit"] == length
    assert close["value"] * units.angstrom == pytest.approx(0.6, rel=ROUNDING)


def test_flags_carry_their_evidence(caller: AsgiCaller) -> None:
    result = caller.predict(document(SALT)).json()["results"][0]
    assert result["status"] == "flagged"
    assert result["flags"][0] == {
        "code": "force-epistemic-high",
        "severity": "candidate",
        "atoms": [1],
        "metric": "force_epistemic_max",
        "value": result["uncertainty"]["forces"]["max"],
        "threshold": FORCE_THRESHOLD,
        "unit": "eV/angstrom",
        "threshold_source": "calibration",
        "coverage": 0.95,
        "calibration_id": STABLE,
    }


def test_only_what_was_asked_is_answered(caller: AsgiCaller, backend: SpringBackend) -> None:
    result = caller.predict(document(SALT, outputs=["forces"])).json()["results"][0]
    assert result["forces"] is not None
    assert result["energy"] is result["stress"] is result["uncertainty"] is None
    _, options, _ = backend.calls[0]
    assert options == EvaluationOptions(uncertainty=False)


def test_a_number_of_samples_may_be_left_to_the_structures(
    caller: AsgiCaller, backend: SpringBackend
) -> None:
    reply = caller.predict(document(SALT, n_samples="adaptive"))
    _, options, _ = backend.calls[0]
    assert options == EvaluationOptions(adaptive=True)
    assert reply.json()["results"][0]["n_samples"] == 4


def test_options_reach_the_backend(caller: AsgiCaller, backend: SpringBackend) -> None:
    reply = caller.predict(
        document(
            SALT,
            outputs=["energy", "stress", "uncertainty"],
            uncertainty={"samples": "energy"},
            precision="float64",
            n_samples=3,
        )
    )
    _, options, deadline = backend.calls[0]
    assert options == EvaluationOptions(
        precision="float64", n_samples=3, stress=True, uncertainty=True, samples="energy"
    )
    assert deadline is None
    result = reply.json()["results"][0]
    assert reply.json()["model"]["n_samples"] == 3
    assert len(result["uncertainty"]["samples"]["energies"]) == 3
    assert result["uncertainty"]["samples"]["forces"] is None
    assert np.shape(result["stress"]) == (3, 3)


def test_stress_of_a_molecule_is_null(caller: AsgiCaller) -> None:
    results = caller.predict(document(WATER, SALT, outputs=["stress"])).json()["results"]
    assert results[0]["stress"] is None
    assert results[1]["stress"] is not None


@pytest.mark.parametrize(
    ("path", "digest"),
    [
        ("/v1/models/springs/predict", STABLE),
        ("/v1/models/springs/versions/stable/predict", STABLE),
        (f"/v1/models/springs/versions/{OLDER[7:23]}/predict", OLDER),
        (f"/v1/models/springs/versions/{OLDER}/predict", OLDER),
    ],
)
def test_a_route_names_the_version_that_answers(caller: AsgiCaller, path: str, digest: str) -> None:
    assert caller.predict(document(WATER), path).json()["model"]["digest"] == digest
