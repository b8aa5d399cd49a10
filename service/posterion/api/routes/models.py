"""The cards of the served models and their versions."""

from dataclasses import asdict

from fastapi import APIRouter
from starlette.responses import Response

from posterion.api.backend import ModelCard
from posterion.api.codec import MediaType
from posterion.api.dependencies import AcceptDep, ServiceDep, document_response, model_path
from posterion.api.replies import version_headers
from posterion.api.routes.reading import ReadRoute

router = APIRouter(prefix="/v1/models", route_class=ReadRoute)


@router.get("")
async def list_models(service: ServiceDep, accept: AcceptDep) -> Response:
    """Cards of the current version of each served model."""
    document = {
        "default_model": service.backend.default_model(),
        "models": [_card_document(card) for card in service.backend.models()],
    }
    return document_response(document, accept)


@router.get("/{model}")
async def model_card(service: ServiceDep, accept: AcceptDep, model: str) -> Response:
    """Card of the current version of one model."""
    return _card_response(service.backend.card(model_path(model).name, None), accept)


@router.get("/{model}/versions")
async def list_versions(service: ServiceDep, accept: AcceptDep, model: str) -> Response:
    """Published versions of one model, newest first."""
    path = model_path(model)
    versions = [asdict(entry) for entry in service.backend.versions(path.name)]
    return document_response({"name": path.name, "versions": versions}, accept)


@router.get("/{model}/versions/{version}")
async def version_card(
    service: ServiceDep, accept: AcceptDep, model: str, version: str
) -> Response:
    """Card of one version, named by its digest, its beginning, or an alias."""
    path = model_path(model, version)
    return _card_response(service.backend.card(path.name, path.version), accept)


def _card_response(card: ModelCard, media_type: MediaType) -> Response:
    response = document_response(_card_document(card), media_type)
    response.headers.update(version_headers(card))
    return response


def _card_document(card: ModelCard) -> dict[str, object]:
    fields = asdict(card)
    return {**fields, "units": {"length": "angstrom", "energy": "eV"}}
