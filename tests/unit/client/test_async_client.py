"""The client for event loops answers as the blocking one does."""

import asyncio
from typing import Any

import numpy as np
import pytest

from posterion_client import (
    AsyncClient,
    Client,
    ModelChanged,
    Prediction,
    Structure,
    UnsupportedElement,
)
from tests.unit.client.stand_in import DIGEST, OTHER_DIGEST, StandIn, problem

ATOM = Structure(symbols=["H"], positions=[[1.0, 2.0, 3.0]])
URANIUM = Structure(symbols=["U"], positions=[[0, 0, 0]])


def run(asked: Any, service: StandIn, **settings: Any) -> Any:  # noqa: ANN401 - any answer
    async def main() -> Any:  # noqa: ANN401 - any answer
        async with AsyncClient(transport=service.transport, **settings) as client:
            return await asked(client)

    return asyncio.run(main())


def test_same_request_same_prediction() -> None:
    waiting_service, blocking_service = StandIn(), StandIn()
    prediction = run(lambda client: client.predict(ATOM), waiting_service)
    with Client(transport=blocking_service.transport) as client:
        expected = client.predict(ATOM)
    assert waiting_service.seen[0].content == blocking_service.seen[0].content
    assert prediction.energy == expected.energy
    np.testing.assert_array_equal(prediction.forces, expected.forces, strict=True)


def test_errors_stand_in_their_place() -> None:
    outcomes = run(
        lambda client: client.predict_many([ATOM, URANIUM, ATOM], on_error="return"), StandIn()
    )
    assert [type(outcome) for outcome in outcomes] == [Prediction, UnsupportedElement, Prediction]
    with pytest.raises(UnsupportedElement, match="structure 1"):
        run(lambda client: client.predict_many([ATOM, URANIUM]), StandIn())


def test_many_tasks_share_one_client() -> None:
    async def ask(client: AsyncClient) -> list[Prediction]:
        structures = [
            Structure(symbols=["H"], positions=[[float(index), 0.0, 0.0]]) for index in range(20)
        ]
        return await asyncio.gather(*(client.predict(structure) for structure in structures))

    predictions = run(ask, StandIn(), pin=True)
    assert [prediction.forces[0, 0] for prediction in predictions] == [
        -0.3 * index for index in range(20)
    ]


def test_pin_holds() -> None:
    async def ask(client: AsyncClient) -> None:
        await client.predict(ATOM)
        service.digest = OTHER_DIGEST
        await client.predict(ATOM)

    service = StandIn()
    with pytest.raises(ModelChanged):
        run(ask, service, pin=True)
    assert service.seen[1].headers["if-match"] == f'"{DIGEST}"'


def test_catalog_is_read() -> None:
    async def ask(client: AsyncClient) -> tuple[object, ...]:
        return (
            (await client.models())[0].name,
            (await client.model()).name,
            (await client.model("ethanol", "stable")).digest,
            (await client.versions("ethanol"))[0].aliases,
            (await client.service()).default_model,
            await client.ready(),
            client.url,
        )

    assert run(ask, StandIn()) == (
        "ethanol",
        "ethanol",
        DIGEST,
        ("stable",),
        "ethanol",
        True,
        "http://127.0.0.1:8000",
    )


def test_not_ready_is_an_answer() -> None:
    service = StandIn(script=[problem(503, "not-ready")])
    assert run(lambda client: client.ready(), service) is False
