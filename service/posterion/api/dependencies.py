"""What the routes share: the service behind them and what a request says about itself."""

import re
from dataclasses import dataclass
from typing import Annotated, Final

import orjson
from fastapi import Depends, Request
from starlette.responses import Response

from posterion.api.codec import MediaType, encode
from posterion.api.negotiation import prefers_strict_handling, reply_media_type
from posterion.api.prediction import Predictions
from posterion.api.sessions import Sessions
from posterion.api.settings import ApiSettings
from posterion.api.stepper import SessionBackend
from posterion.errors import UnknownModel
from posterion.observability.metrics import ServiceMetrics

_MODEL_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_VERSION: Final = re.compile(r"(sha256:)?[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The parts of one application.

    Attributes:
        settings: Limits.
        backend: Evaluates structures.
        metrics: Counts.
        predictions: Answers predict requests.
        sessions: Which are open.
    """

    settings: ApiSettings
    backend: SessionBackend
    metrics: ServiceMetrics
    predictions: Predictions
    sessions: Sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPath:
    """Which model and version a route names.

    Attributes:
        name: Bank name.
        version: Version, digest or alias; None = the served default.
    """

    name: str
    version: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """What the headers of a request ask for.

    Attributes:
        if_match: The version pin, if any.
        strict: Whether the error of a single structure should be an HTTP error.
    """

    if_match: str | None
    strict: bool


def service_of(request: Request) -> Service:
    """The service that this application serves."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


def preferences(request: Request) -> Preferences:
    """What this request's headers ask for."""
    pins = request.headers.getlist("if-match")
    return Preferences(
        if_match=", ".join(pins) if pins else None,
        strict=prefers_strict_handling(request.headers.getlist("prefer")),
    )


async def accepted_media_type(request: Request) -> MediaType:
    """The encoding of the reply to a request without a body."""
    return reply_media_type(request.headers.get("accept"))


def model_path(name: str, version: str | None = None) -> ModelPath:
    """The model and version that a route names; what cannot exist is unknown.

    Args:
        name: Bank name.
        version: Version, digest or alias; None = the served default.

    Raises:
        UnknownModel: If no model or version could have that name.
    """
    if not _MODEL_NAME.fullmatch(name):
        raise UnknownModel("no such model; GET /v1/models lists them")
    if version is not None and not _VERSION.fullmatch(version):
        raise UnknownModel(f"no such version; GET /v1/models/{name}/versions lists them")
    return ModelPath(name=name, version=version)


async def _service(request: Request) -> Service:
    # The framework sends functions that are not coroutines through a thread each.
    return service_of(request)


ServiceDep = Annotated[Service, Depends(_service)]
AcceptDep = Annotated[MediaType, Depends(accepted_media_type)]


def document_response(document: object, media_type: MediaType) -> Response:
    """Answer with a document of plain values.

    Args:
        document: May hold tuples and mappings; NaN becomes null, as JSON has none.
        media_type: The encoding.
    """
    plain = orjson.loads(orjson.dumps(document))
    return Response(encode(plain, media_type), media_type=str(media_type))
