"""The service document: what a client can ask for, and within which limits."""

from importlib.metadata import version
from typing import Final, get_args

from fastapi import APIRouter
from starlette.responses import Response

from posterion.api.codec import MediaType
from posterion.api.dependencies import AcceptDep, ServiceDep, document_response
from posterion.api.frame_layout import LAYOUT
from posterion.api.routes.reading import ReadRoute
from posterion.api.routes.session import PATHS
from posterion.api.schemas import Output
from posterion.api.session_opening import SUBPROTOCOL
from posterion.api.settings import ApiSettings
from posterion.structures.evaluation import Precision, SamplesDetail
from posterion.structures.units import EnergyUnit, LengthUnit

API_VERSIONS: Final = ("v1",)

router = APIRouter(route_class=ReadRoute)


@router.get("/v1")
async def service_document(service: ServiceDep, accept: AcceptDep) -> Response:
    """Describe the service."""
    document = {
        "service": "posterion",
        "software_version": version("posterion"),
        "api_versions": API_VERSIONS,
        "default_model": service.backend.default_model(),
        "models": [card.name for card in service.backend.models()],
        "units": {
            "length": get_args(LengthUnit),
            "energy": get_args(EnergyUnit),
            "default": {"length": "angstrom", "energy": "eV"},
        },
        "outputs": get_args(Output),
        "samples": get_args(SamplesDetail),
        "precisions": get_args(Precision),
        "limits": limits_document(service.settings),
        "encodings": [str(media_type) for media_type in MediaType],
        "sessions": {"routes": PATHS, "subprotocol": SUBPROTOCOL, "layout": LAYOUT},
    }
    return document_response(document, accept)


def limits_document(settings: ApiSettings) -> dict[str, int]:
    """The limits that a request must keep.

    Args:
        settings: Of the application.
    """
    return {
        "body_bytes": settings.max_body_bytes,
        "structures_per_request": settings.max_structures,
        "atoms_per_structure": settings.max_atoms,
        "edges_per_request": settings.max_edges,
        "edges_per_structure": settings.max_structure_edges,
        "json_depth": settings.max_depth,
        "sessions": settings.max_sessions,
        "frame_bytes": settings.max_frame_bytes,
    }
