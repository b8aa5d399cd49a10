"""The output uncertainty_gradient: asked in every encoding, answered alike, or refused."""

import struct
from typing import Any

import numpy as np
import orjson
import pytest
from fastapi import FastAPI

from posterion.errors import Fault, InvalidRequest
from posterion.structures.evaluation import EvaluationOptions, GradientScalar
from posterion.structures.prediction import UncertaintyGradient
from posterion.structures.structure import Structure
from tests.support.asgi_caller import AsgiCaller, read_msgpack
from tests.support.asgi_session import AsgiSession
from tests.support.fake_backend import SpringBackend, spring_prediction
from tests.support.frames import (
    FRAME,
    GRADIENT,
    GRADIENTS,
    Reply,
    read_reply,
    request_frame,
    step_frame,
)
from tests.support.frames import Structure as Framed
from tests.support.requests import SALT, WATER, document

OUTPUTS = ["energy", "uncertainty_gradient"]
HARTREE, NM = 27.211386024367243, 10.0
SALT_NUMBERS = np.array([8, 1])


def salt() -> Structure:
    return Structure(
        atomic_numbers=SALT_NUMBERS,
        positions=np.array(SALT["positions"]),
        cell=np.array(SALT["cell"]),
        pbc=(True, True, True),
    )


def truth(structure: Structure, scalar: str) -> UncertaintyGradient:
    options = EvaluationOptions(gradient_of=scalar)  # type: ignore[arg-type]
    found = spring_prediction(structure, options).uncertainty_gradient
    assert found is not None
    return found


def asked(*structures: object, scalar: str, **options: object) -> dict[str, Any]:
    return document(*structures, outputs=OUTPUTS, uncertainty={"gradient_of": scalar}, **options)


@pytest.mark.parametrize("scalar", GRADIENTS)
def test_the_reply_holds_value_and_gradient(
    caller: AsgiCaller, backend: SpringBackend, scalar: GradientScalar
) -> None:
    results = caller.predict(asked(SALT, WATER, scalar=scalar)).json()["results"]
    expected = truth(salt(), scalar)
    assert results[0]["uncertainty"] is None
    found = results[0]["uncertainty_gradient"]
    assert expected.cell is not None
    assert found == {
        "of": scalar,
        "value": expected.value,
        "unit": expected.unit,
        "positions": expected.positions.tolist(),
        "cell": expected.cell.tolist(),
    }
    assert results[1]["uncertainty_gradient"]["cell"] is None
    _, options, _ = backend.calls[0]
    assert options == EvaluationOptions(uncertainty=False, gradient_of=scalar)


def test_the_scalar_is_the_root_mean_square_unless_said(
    caller: AsgiCaller, backend: SpringBackend
) -> None:
    reply = caller.predict(document(WATER, outputs=OUTPUTS))
    assert reply.json()["results"][0]["uncertainty_gradient"]["of"] == "force_epistemic_rms"
    assert caller.predict(document(WATER)).json()["results"][0]["uncertainty_gradient"] is None
    assert [options.gradient_of for _, options, _ in backend.calls] == [
        "force_epistemic_rms",
        None,
    ]


@pytest.mark.parametrize("scalar", GRADIENTS)
def test_units_are_the_callers(caller: AsgiCaller, scalar: str) -> None:
    scaled = {
        **SALT,
        "positions": (np.array(SALT["positions"]) / NM).tolist(),
        "cell": (np.array(SALT["cell"]) / NM).tolist(),
    }
    units = {"length": "nm", "energy": "hartree"}
    reply = caller.predict(asked(scaled, scalar=scalar, units=units)).json()
    found = reply["results"][0]["uncertainty_gradient"]
    expected = truth(salt(), scalar)
    factor, unit = {
        "eV/angstrom": (NM / HARTREE, "hartree/nm"),
        "eV": (1.0 / HARTREE, "hartree"),
        "nat": (1.0, "nat"),
    }[expected.unit]
    assert found["unit"] == unit
    assert found["value"] == pytest.approx(expected.value * factor)
    np.testing.assert_allclose(found["positions"], expected.positions * factor * NM, rtol=1e-9)
    assert expected.cell is not None
    np.testing.assert_allclose(found["cell"], expected.cell * factor * NM, rtol=1e-9)


def test_msgpack_carries_the_same(caller: AsgiCaller) -> None:
    question = asked(SALT, WATER, scalar="energy_epistemic")
    in_json = caller.predict(question).json()["results"]
    packed = read_msgpack(caller.predict_msgpack(question).content)["results"]
    assert packed[0]["uncertainty_gradient"]["positions"].dtype == np.float64
    assert orjson.loads(orjson.dumps(packed, option=orjson.OPT_SERIALIZE_NUMPY)) == in_json


def assert_framed(reply: Reply, index: int, atoms: slice, expected: UncertaintyGradient) -> None:
    assert reply.gradient_value is not None
    assert reply.by_positions is not None
    assert reply.by_cell is not None
    assert reply.gradient_value[index] == expected.value
    np.testing.assert_array_equal(reply.by_positions[atoms], expected.positions)
    if expected.cell is None:
        assert np.isnan(reply.by_cell[index]).all()
    else:
        np.testing.assert_array_equal(reply.by_cell[index], expected.cell)


@pytest.mark.parametrize("number", range(4))
def test_a_frame_names_the_scalar_by_its_number(caller: AsgiCaller, number: int) -> None:
    water = Structure(atomic_numbers=np.array([8, 1, 1]), positions=np.array(WATER["positions"]))
    body = request_frame(
        [
            Framed(water.atomic_numbers, water.positions),
            Framed(np.array([92]), np.zeros((1, 3))),
            Framed(SALT_NUMBERS, salt().positions, salt().cell, 7),
        ],
        outputs=GRADIENT + 1 + 2 + 8,
        gradient=number,
    )
    reply = read_reply(caller.post(body, content_type=FRAME).content)
    assert_framed(reply, 0, slice(0, 3), truth(water, GRADIENTS[number]))
    assert_framed(reply, 2, slice(4, 6), truth(salt(), GRADIENTS[number]))
    assert reply.forces is not None
    np.testing.assert_array_equal(
        reply.forces[4:], spring_prediction(salt(), EvaluationOptions()).forces
    )
    assert reply.gradient_value is not None
    assert reply.by_positions is not None
    assert np.isnan(reply.gradient_value[1])
    assert np.isnan(reply.by_positions[3]).all()


def test_a_frame_without_the_gradient_is_as_before(caller: AsgiCaller) -> None:
    frame = request_frame([Framed(SALT_NUMBERS, salt().positions)], outputs=15)
    reply = caller.post(frame, content_type=FRAME).content
    assert len(reply) == 64 + 64 + 8 * (3 * 2 + 9 + 2 * 2)
    assert struct.unpack_from("<I", reply, 24) == (15,)


@pytest.mark.parametrize(
    ("outputs", "gradient", "code"),
    [(15, 1, "malformed-body"), (16, 4, "invalid-request"), (32, 0, "invalid-request")],
)
def test_a_frame_that_names_nothing_is_refused(
    caller: AsgiCaller, outputs: int, gradient: int, code: str
) -> None:
    frame = request_frame(
        [Framed(SALT_NUMBERS, salt().positions)], outputs=outputs, gradient=gradient
    )
    assert caller.post(frame, content_type=FRAME).json()["code"] == code


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"outputs": OUTPUTS, "n_samples": "adaptive"}, "/n_samples"),
        ({"uncertainty": {"gradient_of": "latent_score"}}, "/uncertainty/gradient_of"),
        (
            {"outputs": OUTPUTS, "uncertainty": {"gradient_of": "forces"}},
            "/uncertainty/gradient_of",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    caller: AsgiCaller, options: dict[str, object], pointer: str
) -> None:
    reply = caller.predict(document(WATER, **options))
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid-request")
    assert [fault["pointer"] for fault in reply.json()["errors"]] == [pointer]


def test_a_gradient_that_is_not_finite_is_an_error(
    caller: AsgiCaller, backend: SpringBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def infinite(structure: Structure, options: EvaluationOptions) -> object:
        prediction = spring_prediction(structure, options)
        assert prediction.uncertainty_gradient is not None
        prediction.uncertainty_gradient.positions[0, 0] = np.inf
        return prediction

    monkeypatch.setattr(backend, "_evaluate", infinite)
    (result,) = caller.predict(asked(WATER, scalar="latent_score")).json()["results"]
    assert result["error"]["code"] == "non-finite-result"


OPENING: dict[str, Any] = {"structure": SALT, "outputs": OUTPUTS}


def test_every_step_of_a_session_has_its_gradient(app: FastAPI, caller: AsgiCaller) -> None:
    async def talk() -> None:
        session = AsgiSession(app)
        opening = {**OPENING, "gradient_of": "energy_epistemic", "uncertainty_interval": 5}
        assert (await session.open(opening))["gradient_of"] == "energy_epistemic"
        for step in (1, 2):
            moved = salt().positions + 0.1 * step
            reply = read_reply(await session.step(step_frame(step, moved[None])))
            there = salt().moved(moved, None)
            assert_framed(reply, 0, slice(0, 2), truth(there, "energy_epistemic"))
        await session.leave()
        plain = AsgiSession(app)
        assert (await plain.open({"structure": SALT}))["gradient_of"] is None
        await plain.leave()

    caller.run(talk())


@pytest.mark.parametrize(
    ("opening", "refusal"),
    [
        ({"structure": SALT, "gradient_of": "latent_score"}, None),
        ({**OPENING, "gradient_of": "latent_score"}, "/uncertainty/gradient_of"),
    ],
)
def test_a_session_is_told_where_its_opening_is_wrong(
    app: FastAPI,
    caller: AsgiCaller,
    backend: SpringBackend,
    monkeypatch: pytest.MonkeyPatch,
    opening: object,
    refusal: str | None,
) -> None:
    error = InvalidRequest(
        "no density", faults=(Fault(pointer=refusal or "", detail="no density"),)
    )

    async def refuse(*arguments: object) -> None:
        raise error

    if refusal is not None:
        monkeypatch.setattr(backend, "open_steps", refuse)

    async def talk() -> None:
        session = AsgiSession(app)
        problem = await session.open(opening)
        assert problem["code"] == "invalid-request"
        assert [fault["pointer"] for fault in problem["errors"]] == ["/gradient_of"]
        assert await session.closed() == 4422

    caller.run(talk())
