"""What ``/openapi.json`` says: written by hand, so that it is true.

A framework would describe the routes from their signatures, which know neither the two
encodings nor the problems. Tests hold this document to the routes and to real replies.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from posterion.api import catalogue_schemas as catalogue
from posterion.api import label_schemas as labels
from posterion.api import reply_schemas as replies
from posterion.api.codec import DOCUMENTS, MediaType
from posterion.api.openapi_parameters import headers, parameters
from posterion.api.schemas import PredictRequest
from posterion.api.settings import ApiSettings

TITLE: Final = "Posterion"
API_VERSION: Final = "1.0.0"

_DESCRIPTION: Final = (
    "Energies, forces and stress of molecules and materials, with calibrated epistemic and "
    "aleatoric uncertainty. Every error is application/problem+json. HEAD is answered wherever "
    "GET is. In application/vnd.msgpack the documents are the same, and arrays of numbers are "
    "objects {dtype, shape, data} with the raw bytes in C order."
)
_SCHEMA_REF: Final = "#/components/schemas/{model}"
_REPLIES: Final[Sequence[type[BaseModel]]] = (
    replies.Problem,
    replies.PredictDocument,
    labels.LabelsDocument,
    catalogue.Card,
    catalogue.Cards,
    catalogue.Versions,
    catalogue.ServiceDocument,
    catalogue.Probe,
)
_PROBLEMS: Final[Mapping[int, str]] = {
    400: "malformed-body",
    404: "unknown-model",
    406: "not-acceptable",
    412: "version-moved: If-Match names another version than the one that would answer",
    413: "too-large; structure-too-large with Prefer: handling=strict",
    415: "unsupported-media-type",
    422: "invalid-request; an error of the only structure with Prefer: handling=strict",
    429: "quota",
    500: "internal; evaluation-failed or non-finite-result with Prefer: handling=strict",
    503: "overloaded, not-ready or draining",
    504: "deadline",
}

_FRAME: Final = {
    "schema": {
        "type": "string",
        "format": "binary",
        "description": "Numbers at fixed places; docs/api.md describes them.",
    }
}

Json = dict[str, Any]


def openapi_document(settings: ApiSettings) -> Json:
    """Describe the API.

    Args:
        settings: Limits that the schemas state.

    Returns:
        An OpenAPI 3.1 document.
    """
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": API_VERSION, "description": _DESCRIPTION},
        "paths": {**_catalogue_paths(), **_evaluation_paths(), **_operation_paths()},
        "components": {
            "schemas": _schemas(settings),
            "parameters": parameters(),
            "headers": headers(),
        },
    }


def snapshot() -> bytes:
    """The document with the default limits, as it is committed."""
    document = openapi_document(ApiSettings())
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _schemas(settings: ApiSettings) -> Json:
    requests = [(model, "validation") for model in (PredictRequest, labels.LabelsRequest)]
    parts = [(model, "serialization") for model in _REPLIES]
    _, definitions = models_json_schema(
        [*requests, *parts],  # type: ignore[list-item]
        ref_template=_SCHEMA_REF,
    )
    schemas: Json = definitions["$defs"]
    for name in ("PredictRequest", "LabelsRequest"):
        schemas[name]["properties"]["structures"]["maxItems"] = settings.max_structures
    structure = schemas["StructureDocument"]
    for name in ("numbers", "symbols", "positions"):
        structure["properties"][name]["maxItems"] = settings.max_atoms
    structure["oneOf"] = [{"required": ["numbers"]}, {"required": ["symbols"]}]
    return dict(sorted(schemas.items()))


def _catalogue_paths() -> Json:
    model, version = _parameter("model"), _parameter("version")
    one_model, one_version = "/v1/models/{model}", "/v1/models/{model}/versions/{version}"
    return {
        "/v1": _get("What to ask for, and within which limits", "ServiceDocument", (406, 503)),
        "/v1/models": _get("The served models", "Cards", (406, 503)),
        one_model: _get("Card of the current version", "Card", (404, 406, 503), (model,)),
        f"{one_model}/versions": _get("Published versions", "Versions", (404, 406, 503), (model,)),
        one_version: _get("Card of one version", "Card", (404, 406, 503), (model, version)),
    }


def _evaluation_paths() -> Json:
    model, version = _parameter("model"), _parameter("version")
    return {
        "/v1/models/{model}/versions/{version}/labels": _evaluate(
            "Compare reference energies with one version",
            (model, version),
            documents=("LabelsRequest", "LabelsDocument"),
        ),
        "/v1/predict": _predict("the default model", ()),
        "/v1/models/{model}/predict": _predict("a model", (model,)),
        "/v1/models/{model}/versions/{version}/predict": _predict(
            "one version of a model", (model, version)
        ),
    }


def _operation_paths() -> Json:
    return {
        "/livez": _probe("Whether the process makes progress"),
        "/readyz": _probe("Whether predictions work now"),
        "/metrics": _page("Metrics in Prometheus' text format", "text/plain"),
        "/openapi.json": _page("This document", str(MediaType.JSON)),
        "/docs": _page("This document as a page", "text/html"),
    }


def _get(
    summary: str, schema: str, problems: Sequence[int], parameters: Sequence[Json] = ()
) -> Json:
    of_one_version = ("ETag", "Posterion-Model") if schema == "Card" else ()
    return _path(
        "get",
        summary,
        parameters=(*parameters, _parameter("X-Request-ID")),
        responses={
            "200": {
                "description": summary,
                "headers": _header_refs(*of_one_version, "X-Request-ID"),
                "content": _both_encodings(schema),
            },
            **_problem_responses((*problems, 415, 500)),
        },
    )


def _predict(whom: str, parameters: Sequence[Json]) -> Json:
    documents = ("PredictRequest", "PredictDocument")
    return _evaluate(f"Predict with {whom}", parameters, documents=documents)


def _evaluate(summary: str, parameters: Sequence[Json], *, documents: tuple[str, str]) -> Json:
    request, reply = documents
    frames = request == "PredictRequest"
    optional = (_parameter(name) for name in ("If-Match", "Prefer", "X-Request-ID"))
    path = _path(
        "post",
        summary,
        parameters=(*parameters, *optional),
        responses={
            "200": {
                "description": "One result per structure, in order; a structure that cannot "
                "be evaluated has an error of its own",
                "headers": _header_refs("ETag", "Posterion-Model", "X-Request-ID"),
                "content": _encodings(reply, frames=frames),
            },
            **_problem_responses(tuple(_PROBLEMS)),
        },
    )
    body = {"required": True, "content": _encodings(request, frames=frames)}
    path["post"]["requestBody"] = body
    return path


def _probe(summary: str) -> Json:
    content = {str(MediaType.JSON): {"schema": _schema("Probe")}}
    responses = {
        "200": {"description": summary, "content": content},
        **_problem_responses((500, 503)),
    }
    return _path("get", summary, parameters=(), responses=responses)


def _page(summary: str, media_type: str) -> Json:
    schema = {"type": "object"} if media_type == MediaType.JSON else {"type": "string"}
    responses = {
        "200": {"description": summary, "content": {media_type: {"schema": schema}}},
        **_problem_responses((500,)),
    }
    return _path("get", summary, parameters=(), responses=responses)


def _path(method: str, summary: str, *, parameters: Sequence[Json], responses: Json) -> Json:
    operation: Json = {"summary": summary, "responses": responses}
    if parameters:
        operation["parameters"] = list(parameters)
    return {method: operation}


def _problem_responses(statuses: Sequence[int]) -> Json:
    return {
        str(status): {
            "description": _PROBLEMS[status],
            "headers": _header_refs(
                "X-Request-ID", *(("Retry-After",) if status in (429, 503) else ())
            ),
            "content": {"application/problem+json": {"schema": _schema("Problem")}},
        }
        for status in sorted(statuses)
    }


def _both_encodings(schema: str) -> Json:
    return {str(media_type): {"schema": _schema(schema)} for media_type in DOCUMENTS}


def _encodings(schema: str, *, frames: bool) -> Json:
    return _both_encodings(schema) | ({str(MediaType.FRAME): _FRAME} if frames else {})


def _schema(name: str) -> Json:
    return {"$ref": _SCHEMA_REF.format(model=name)}


def _parameter(name: str) -> Json:
    return {"$ref": f"#/components/parameters/{name}"}


def _header_refs(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


if __name__ == "__main__":
    sys.stdout.buffer.write(snapshot())
