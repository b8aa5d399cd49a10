"""Sessions: the steps of one trajectory over one WebSocket."""

from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send

from posterion.api.dependencies import ModelPath, Service, model_path
from posterion.api.session import Session

PATHS = (
    "/v1/session",
    "/v1/models/{model}/session",
    "/v1/models/{model}/versions/{version}/session",
)


class SessionEndpoint:
    """An ASGI application behind the routes of sessions."""

    def __init__(self, service: Service) -> None:
        """Keep the service."""
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one session."""
        session = Session(self._service, scope, receive, send)
        await session.run(lambda: self._path(scope))

    def _path(self, scope: Scope) -> ModelPath:
        parameters: dict[str, str] = scope["path_params"]
        if not parameters:
            return ModelPath(name=self._service.backend.default_model(), version=None)
        return model_path(parameters["model"], parameters.get("version"))


def session_routes(service: Service) -> list[WebSocketRoute]:
    """The routes of sessions.

    Args:
        service: Answers them.
    """
    endpoint = SessionEndpoint(service)
    return [WebSocketRoute(path, endpoint) for path in PATHS]
