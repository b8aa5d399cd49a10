"""The committed description is the current one, and what the service does is in it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from starlette.routing import BaseRoute, Route

import posterion.errors as errors_module
from posterion.api.app import create_app
from posterion.api.openapi import openapi_document, snapshot
from posterion.api.reply_schemas import ProblemCode
from posterion.api.settings import ApiSettings
from posterion.errors import OperationError, PosterionError, StructureError
from tests.support.asgi_caller import AsgiCaller
from tests.support.fake_backend import UNKNOWN_ELEMENT, SpringBackend
from tests.support.requests import COINCIDENT, SALT, WATER, document

COMMITTED = Path(__file__).parents[2] / "clients" / "openapi.json"

FULL = document(
    {**WATER, "id": "a"},
    SALT,
    COINCIDENT,
    {**WATER, "numbers": [UNKNOWN_ELEMENT, 1, 1]},
    outputs=["energy", "forces", "stress", "uncertainty", "uncertainty_gradient"],
    uncertainty={"samples": "full", "gradient_of": "energy_epistemic"},
    units={"length": "bohr", "energy": "hartree"},
    precision="float64",
    n_samples=3,
    deadline_ms=60_000,
)


@pytest.fixture
def backend() -> SpringBackend:
    return SpringBackend()


@pytest.fixture
def caller(backend: SpringBackend) -> Iterator[AsgiCaller]:
    with AsgiCaller(create_app(ApiSettings(), backend)) as asgi_caller:
        yield asgi_caller


@pytest.fixture
def described() -> dict[str, Any]:
    return openapi_document(ApiSettings())


def test_openapi_snapshot_is_current() -> None:
    assert COMMITTED.read_bytes() == snapshot(), (
        "the description changed; look at the difference, then write it with "
        "`python -m posterion.api.openapi > clients/openapi.json`"
    )


def test_openapi_is_served_as_committed(caller: AsgiCaller, described: dict[str, Any]) -> None:
    assert caller.get("/openapi.json").json() == described


def test_openapi_lists_every_route_and_no_other(described: dict[str, Any]) -> None:
    app = create_app(ApiSettings(), SpringBackend())
    served = {
        (route.path, method.lower()) for route in walk(app.routes) for method in route.methods or ()
    }
    listed = {(path, method) for path, item in described["paths"].items() for method in item}
    with_head = listed | {(path, "head") for path, method in listed if method == "get"}
    assert with_head == served
    assert len(listed) == 14


def test_openapi_references_resolve_and_schemas_are_valid(described: dict[str, Any]) -> None:
    for reference in references(described):
        node: Any = described
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
    for schema in described["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_openapi_documents_a_problem_for_every_error(described: dict[str, Any]) -> None:
    for path, item in described["paths"].items():
        for operation in item.values():
            for status, response in operation["responses"].items():
                if status != "200":
                    assert list(response["content"]) == ["application/problem+json"], path


def test_openapi_knows_every_code_a_request_can_meet() -> None:
    kinds = [
        kind
        for kind in vars(errors_module).values()
        if isinstance(kind, type)
        and issubclass(kind, PosterionError)
        and not issubclass(kind, OperationError)
        and (not kind.__subclasses__() or kind is StructureError)
    ]
    assert {kind.code for kind in kinds} == set(get_args(ProblemCode))


@pytest.mark.parametrize("asked", [FULL, document(WATER), document(WATER, outputs=["energy"])])
def test_openapi_describes_real_predictions(
    caller: AsgiCaller, described: dict[str, Any], asked: dict[str, Any]
) -> None:
    validate(described, "PredictRequest", asked)
    reply = caller.predict(asked)
    assert reply.status_code == 200
    validate(described, "PredictDocument", reply.json())
    operation = described["paths"]["/v1/predict"]["post"]
    for header in operation["responses"]["200"]["headers"]:
        assert header in reply.headers


@pytest.mark.parametrize("energies", [[1.0, None, 1.0], [None, 1.0, None], [None, None, None]])
def test_openapi_describes_real_labels(
    caller: AsgiCaller, described: dict[str, Any], energies: list[float | None]
) -> None:
    asked = document(WATER, COINCIDENT, SALT, energies=energies, threshold=0.1)
    validate(described, "LabelsRequest", asked)
    reply = caller.predict(asked, "/v1/models/springs/versions/stable/labels")
    assert reply.status_code == 200
    validate(described, "LabelsDocument", reply.json())
    again = asked | {"state": reply.json()["state"]}
    validate(described, "LabelsRequest", again)
    assert caller.predict(again, "/v1/models/springs/versions/stable/labels").status_code == 200


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("/v1", "ServiceDocument"),
        ("/v1/models", "Cards"),
        ("/v1/models/springs", "Card"),
        ("/v1/models/springs/versions", "Versions"),
        ("/v1/models/springs/versions/stable", "Card"),
        ("/livez", "Probe"),
        ("/readyz", "Probe"),
        ("/nowhere", "Problem"),
        ("/v1/models/absent", "Problem"),
        ("/v1/predict", "Problem"),
    ],
)
def test_openapi_describes_real_documents(
    caller: AsgiCaller, described: dict[str, Any], path: str, schema: str
) -> None:
    reply = caller.get(path)
    validate(described, schema, reply.json())
    if schema != "Problem":
        template = path.replace("springs", "{model}").replace("stable", "{version}")
        answer = described["paths"][template]["get"]["responses"]["200"]
        assert [name for name in answer.get("headers", ()) if name not in reply.headers] == []


@pytest.mark.parametrize(
    "wrong",
    [
        document(),
        document({**WATER, "colour": 1}),
        document({"positions": [[0, 0, 0]]}),
        document({**WATER, "symbols": ["O", "H", "H"]}),
        document({**WATER, "pbc": [1, 0, 0]}),
        document(WATER, precision="float16"),
        document(WATER, n_samples=0),
        document(WATER, units={"length": "mile"}),
    ],
)
def test_openapi_refuses_what_the_service_refuses(
    caller: AsgiCaller, described: dict[str, Any], wrong: dict[str, Any]
) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validate(described, "PredictRequest", wrong)
    assert caller.predict(wrong).status_code == 422


def validate(described: dict[str, Any], schema: str, document: object) -> None:
    root = {"$ref": f"#/components/schemas/{schema}", "components": described["components"]}
    jsonschema.Draft202012Validator(root).validate(document)


def walk(routes: list[BaseRoute]) -> Iterator[Route]:
    for route in routes:
        # FastAPI keeps an included router as one route, or copies its routes: by version.
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from walk(included.routes)
        elif isinstance(route, Route):
            yield route


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)
