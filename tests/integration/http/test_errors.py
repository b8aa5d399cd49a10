"""Every error a caller of a healthy service can cause, seen through the client.

What only a broken or busy service answers (internal, draining, overloaded, a failed
evaluation) and what only its surroundings add (unauthenticated, forbidden, quota) is tested
where it arises.
"""

from collections.abc import Callable

import httpx
import numpy as np
import pytest

from posterion_client import (
    Client,
    DeadlineExceeded,
    InvalidRequest,
    InvalidStructure,
    MalformedBody,
    MethodNotAllowed,
    ModelChanged,
    NotAcceptable,
    NotFound,
    PosterionError,
    PredictOptions,
    RetryPolicy,
    Structure,
    StructureError,
    StructureTooLarge,
    TooLarge,
    UnknownModel,
    UnsupportedElement,
    UnsupportedMediaType,
    UnsupportedProperty,
)
from tests.support.banks import NUMBERS, POSITIONS
from tests.support.services import Service

ONCE = RetryPolicy(budget_s=0)
ETHANOL = Structure(numbers=NUMBERS, positions=POSITIONS)
MANY = 100_001
LINE = np.zeros((MANY, 3))
LINE[:, 0] = 5.0 * np.arange(MANY)


class Meddling(httpx.HTTPTransport):
    """Sends another request than the client wrote."""

    def __init__(self, change: Callable[[httpx.Request], httpx.Request]) -> None:
        super().__init__()
        self._change = change

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return super().handle_request(self._change(request))


def rewritten(
    *, method: str = "POST", content: bytes | None = None, **headers: str
) -> Callable[[httpx.Request], httpx.Request]:
    """A change to what is sent; ``content_type=...`` becomes the header ``Content-Type``."""

    def change(request: httpx.Request) -> httpx.Request:
        kept = {name: value for name, value in request.headers.items() if name != "content-length"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = request.content if content is None else content
        return httpx.Request(method, request.url, headers={**kept, **named}, content=body)

    return change


@pytest.mark.parametrize(
    ("change", "kind", "code", "status"),
    [
        (rewritten(content=b"\x81\xa1"), MalformedBody, "malformed-body", 400),
        (rewritten(method="DELETE"), MethodNotAllowed, "method-not-allowed", 405),
        (rewritten(accept="text/html"), NotAcceptable, "not-acceptable", 406),
        (rewritten(content=bytes(33 * 1024 * 1024)), TooLarge, "too-large", 413),
        (
            rewritten(content_type="text/plain"),
            UnsupportedMediaType,
            "unsupported-media-type",
            415,
        ),
        (
            rewritten(content_encoding="gzip"),
            UnsupportedMediaType,
            "unsupported-media-type",
            415,
        ),
        (rewritten(content=b"\x80"), InvalidRequest, "invalid-request", 422),
    ],
)
def test_a_wrong_request_is_refused_with_its_code(
    service: Service,
    change: Callable[[httpx.Request], httpx.Request],
    kind: type[PosterionError],
    code: str,
    status: int,
) -> None:
    with (
        Client(service.url, transport=Meddling(change), retry=ONCE) as client,
        pytest.raises(PosterionError) as caught,
    ):
        client.predict(ETHANOL)
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.status) == (code, status)
    assert caught.value.request_id is not None


def test_an_unknown_path_model_and_version_are_told_apart(service: Service) -> None:
    with (
        Client(f"{service.url}/elsewhere", retry=ONCE) as lost,
        Client(service.url, retry=ONCE) as client,
    ):
        with pytest.raises(NotFound) as path:
            lost.predict(ETHANOL)
        with pytest.raises(UnknownModel, match="water") as model:
            client.predict(ETHANOL, model="water")
        with pytest.raises(UnknownModel, match="0123456789abcdef"):
            client.predict(ETHANOL, model="ethanol", version="0123456789abcdef")
    assert (path.value.code, model.value.code) == ("not-found", "unknown-model")


def test_a_sample_set_that_does_not_answer_here_is_not_replaced(client: Client) -> None:
    with pytest.raises(ModelChanged, match="another version"):
        client.predict(ETHANOL, digest=f"sha256:{'0' * 64}")


def test_more_samples_than_there_are_is_an_invalid_request(client: Client) -> None:
    with pytest.raises(InvalidRequest, match="at most 2"):
        client.predict(ETHANOL, options=PredictOptions(n_samples=99))


def test_a_deadline_that_cannot_be_met_is_told(service: Service) -> None:
    options = PredictOptions(precision="float64", deadline_s=0.001)
    with Client(service.url, retry=ONCE) as client, pytest.raises(DeadlineExceeded) as caught:
        client.predict_many([ETHANOL] * 64, options=options)
    assert (caught.value.code, caught.value.status) == ("deadline", 504)


@pytest.mark.parametrize(
    ("structure", "kind", "said"),
    [
        (
            Structure(numbers=[1, 1], positions=[[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]]),
            InvalidStructure,
            "0.3",
        ),
        (Structure(numbers=[16], positions=[[0, 0, 0]]), UnsupportedElement, "16"),
        (
            Structure(numbers=NUMBERS, positions=POSITIONS, charge=1),
            UnsupportedProperty,
            "charge",
        ),
        (
            Structure(numbers=NUMBERS, positions=POSITIONS, spin_multiplicity=3),
            UnsupportedProperty,
            "spin",
        ),
        (Structure(numbers=np.ones(MANY, np.int64), positions=LINE), StructureTooLarge, "100000"),
    ],
)
def test_a_wrong_structure_is_refused_alone(
    client: Client, structure: Structure, kind: type[StructureError], said: str
) -> None:
    good, bad = client.predict_many([ETHANOL, structure], on_error="return")
    assert not isinstance(good, PosterionError)
    assert type(bad) is kind
    assert said in bad.detail or any(said in fault.detail for fault in bad.faults)
    assert bad.index == 1


def test_a_caller_who_prefers_it_gets_the_error_of_the_structure(service: Service) -> None:
    body = {"structures": [{"numbers": [16], "positions": [[0, 0, 0]]}]}
    with service.client() as http:
        reply = http.post("/v1/predict", json=body, headers={"Prefer": "handling=strict"})
    assert reply.status_code == 422
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["code"] == "unsupported-element"
