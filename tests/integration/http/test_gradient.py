"""The gradient of the uncertainty over a real service: in every batch, frame and step alike."""

import json

import httpx
import numpy as np
import pytest
from websockets.sync.client import connect

from posterion.inference.predictor import Predictor
from posterion.structures.evaluation import EvaluationOptions
from posterion_client import Client, InvalidRequest, PredictOptions, UncertaintyGradient
from posterion_client import Structure as Asked
from tests.support.banks import NUMBERS, POSITIONS, ethanol, thermal_ethanol
from tests.support.frames import SUBPROTOCOL, read_reply, step_frame
from tests.support.predictions import predicted
from tests.support.services import Service
from tests.support.tolerances import ROUNDING

OPTIONS = PredictOptions(precision="float64", gradient_of="force_epistemic_max_smooth")
PATIENCE_S = 60.0


def gradients(client: Client, options: PredictOptions) -> list[UncertaintyGradient]:
    structures = [
        Asked(numbers=each.atomic_numbers, positions=each.positions)
        for each in [ethanol(0.05), *thermal_ethanol(3)]
    ]
    found = [one.uncertainty_gradient for one in client.predict_many(structures, options=options)]
    assert None not in found
    return [each for each in found if each is not None]


def test_the_service_answers_the_predictors_gradient(client: Client, predictor: Predictor) -> None:
    structures = [ethanol(0.05), *thermal_ethanol(3)]
    options = EvaluationOptions(precision="float64", gradient_of="force_epistemic_max_smooth")
    for answer, truth in zip(
        gradients(client, OPTIONS), predicted(predictor, structures, options), strict=True
    ):
        expected = truth.uncertainty_gradient
        assert expected is not None
        assert answer.value == pytest.approx(expected.value, rel=ROUNDING)
        np.testing.assert_allclose(answer.positions, expected.positions, rtol=0, atol=ROUNDING)


def test_a_step_has_the_gradient_that_predict_answers(service: Service, client: Client) -> None:
    asked = Asked(numbers=NUMBERS, positions=POSITIONS)
    expected = client.predict(asked, options=OPTIONS).uncertainty_gradient
    assert expected is not None
    opening = {
        "structure": {"numbers": NUMBERS.tolist(), "positions": POSITIONS.tolist()},
        "outputs": ["forces", "uncertainty_gradient"],
        "gradient_of": "force_epistemic_max_smooth",
        "precision": "float64",
    }
    url = service.url.replace("http", "ws") + "/v1/session"
    with connect(url, subprotocols=[SUBPROTOCOL], open_timeout=PATIENCE_S) as socket:  # type: ignore[list-item]
        socket.send(json.dumps(opening))
        assert json.loads(socket.recv(PATIENCE_S))["gradient_of"] == opening["gradient_of"]
        socket.send(step_frame(1, POSITIONS[None]))
        frame = socket.recv(PATIENCE_S)
    assert isinstance(frame, bytes)
    reply = read_reply(frame)
    assert reply.gradient_value is not None
    assert reply.by_positions is not None
    assert reply.gradient_value[0] == expected.value
    np.testing.assert_array_equal(reply.by_positions, expected.positions)


def test_what_the_bank_lacks_is_refused_where_it_was_asked(
    service: Service, client: Client
) -> None:
    with pytest.raises(InvalidRequest, match="no latent density") as caught:
        gradients(client, PredictOptions(gradient_of="latent_score"))
    assert [each.pointer for each in caught.value.faults] == ["/uncertainty/gradient_of"]
    with service.client() as http:
        structure = {"numbers": NUMBERS.tolist(), "positions": POSITIONS.tolist()}
        body = {
            "structures": [structure],
            "outputs": ["uncertainty_gradient"],
            "n_samples": 1,
        }
        reply = http.post("/v1/predict", json=body)
    assert reply.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert [each["pointer"] for each in reply.json()["errors"]] == ["/n_samples"]
    opening = {
        "structure": structure,
        "outputs": ["uncertainty_gradient"],
        "gradient_of": "latent_score",
    }
    url = service.url.replace("http", "ws") + "/v1/session"
    with connect(url, subprotocols=[SUBPROTOCOL], open_timeout=PATIENCE_S) as socket:  # type: ignore[list-item]
        socket.send(json.dumps(opening))
        problem = json.loads(socket.recv(PATIENCE_S))
    assert [each["pointer"] for each in problem["errors"]] == ["/gradient_of"]
