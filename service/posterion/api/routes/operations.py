"""Probes, metrics and the description of the API itself."""

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from posterion.api.backend import Health
from posterion.api.codec import MediaType
from posterion.api.dependencies import ServiceDep, document_response
from posterion.api.docs_page import CONTENT_SECURITY_POLICY, docs_page
from posterion.api.routes.reading import ReadRoute
from posterion.errors import NotReady
from posterion.observability.metrics import METRICS_MEDIA_TYPE, ServedModel

router = APIRouter(route_class=ReadRoute)


@router.get("/livez")
async def live(service: ServiceDep) -> Response:
    """Whether the process makes progress."""
    return _probe(service.backend.live())


@router.get("/readyz")
async def ready(service: ServiceDep) -> Response:
    """Whether predictions work now."""
    return _probe(service.backend.ready())


@router.get("/metrics")
async def metrics(service: ServiceDep) -> Response:
    """All metrics in Prometheus' text format."""
    served = [
        ServedModel(name=card.name, version=card.version, digest=card.digest)
        for card in service.backend.models()
    ]
    body = service.metrics.render(served=served, ready=service.backend.ready().ok)
    return Response(body, media_type=METRICS_MEDIA_TYPE)


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """The OpenAPI document."""
    return document_response(request.app.openapi(), MediaType.JSON)


@router.get("/docs")
async def docs(request: Request) -> Response:
    """The OpenAPI document as one page that loads nothing else."""
    return HTMLResponse(
        docs_page(request.app.openapi()),
        headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY},
    )


def _probe(health: Health) -> Response:
    if not health.ok:
        raise NotReady(health.detail)
    return document_response({"status": "ok", "detail": health.detail}, MediaType.JSON)
