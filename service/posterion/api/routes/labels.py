"""Labels: reference energies that come back, and what they teach about the next ones."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from posterion.api.dependencies import model_path, service_of
from posterion.api.routes.predict import PredictCall

router = APIRouter(prefix="/v1")


@router.post("/models/{model}/versions/{version}/labels")
async def label_version(request: Request, model: str, version: str) -> Response:
    """Compare labels with one version, and say how far its energies can be trusted now."""
    return await PredictCall(service_of(request), request).learn(model_path(model, version))
