"""The application: routes, middleware and error handlers around one backend."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from posterion.api.dependencies import Service
from posterion.api.envelope import RequestEnvelope
from posterion.api.errors import install_error_handlers
from posterion.api.limits import BodyLimits
from posterion.api.openapi import API_VERSION, TITLE, openapi_document
from posterion.api.prediction import Predictions
from posterion.api.routes import labels, models, operations, service
from posterion.api.routes.predict import PredictFirst, predict_routes
from posterion.api.routes.session import session_routes
from posterion.api.sessions import Sessions
from posterion.api.settings import ApiSettings
from posterion.api.stepper import SessionBackend
from posterion.observability.metrics import ServiceMetrics
from posterion.observability.session_metrics import SessionMetrics


class PosterionApp(FastAPI):
    """FastAPI whose description is written by hand and held to the routes by a test."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        if self.openapi_schema is None:
            described: Service = self.state.service
            self.openapi_schema = openapi_document(described.settings)
        return self.openapi_schema


def create_app(
    settings: ApiSettings, backend: SessionBackend, *, metrics: ServiceMetrics | None = None
) -> FastAPI:
    """Build the application.

    Args:
        settings: Limits.
        backend: Evaluates structures; started and stopped with the application.
        metrics: Where to count, if another layer counts in the same registry.

    Returns:
        An ASGI application; nothing about it is global.
    """
    counts = ServiceMetrics() if metrics is None else metrics

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await backend.startup()
        try:
            yield
        finally:
            await backend.shutdown()

    app = PosterionApp(
        title=TITLE,
        version=API_VERSION,
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    sessions = Sessions(settings.max_sessions, SessionMetrics(counts.registry))
    backend.on_drain(sessions.end)
    app.state.service = Service(
        settings=settings,
        backend=backend,
        metrics=counts,
        predictions=Predictions(settings, backend, counts),
        sessions=sessions,
    )
    # Routes are tried in this order.
    predictions = predict_routes(app.state.service)
    app.router.routes.extend(predictions)
    for routes in (labels, service, models, operations):
        app.include_router(routes.router)
    app.router.routes.extend(session_routes(app.state.service))
    install_error_handlers(app)
    # The last one added is the outermost.
    app.add_middleware(PredictFirst, routes=predictions)
    app.add_middleware(
        BodyLimits, max_bytes=settings.max_body_bytes, timeout_s=settings.body_timeout_s
    )
    app.add_middleware(RequestEnvelope, metrics=counts)
    return app
