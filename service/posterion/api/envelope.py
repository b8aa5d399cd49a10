"""What surrounds every request: its id, its log line, its metrics, and the last resort."""

import logging
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from posterion.api.errors import problem_response
from posterion.api.record import REQUEST_ID_HEADER, RequestRecord, open_record
from posterion.errors import InternalError
from posterion.observability.logging import bind_request_id
from posterion.observability.metrics import ServiceMetrics

CLIENT_CLOSED_REQUEST: Final = 499
"""Status in logs and metrics of a request whose caller left; never sent."""

_QUIET_ROUTES: Final = frozenset({"/livez", "/readyz", "/metrics"})

logger = logging.getLogger("posterion.api")


class RequestEnvelope:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, *, metrics: ServiceMetrics) -> None:
        """Wrap an application.

        Args:
            app: The application.
            metrics: Where requests are counted.
        """
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; an exception nobody expected becomes a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = open_record(scope)
        reply = _Reply(send, record)
        with bind_request_id(record.request_id), self._metrics.track_inflight():
            try:
                await self._app(scope, receive, reply.send)
            except ClientDisconnect:
                logger.debug("the client left before its answer")
            except Exception:
                # The last resort: a defect is logged with its traceback and answered as
                # one, so that one request never takes the service down.
                logger.exception("unexpected error")
                if reply.status is None:
                    defect = InternalError("the service failed; its log has this request id")
                    await problem_response(defect, record)(scope, receive, reply.send)
            finally:
                self._account(scope, record, reply.status or CLIENT_CLOSED_REQUEST)

    def _account(self, scope: Scope, record: RequestRecord, status: int) -> None:
        for count in record.afterwards:
            count()
        route = _route_template(scope)
        self._metrics.observe_request(
            route=route,
            status=status,
            code=record.code or ("ok" if status < CLIENT_CLOSED_REQUEST else "client-closed"),
            model=record.model or "",
            version=record.version or "",
            seconds=record.elapsed_s,
        )
        facts = {
            "method": scope["method"],
            "route": route,
            "status": status,
            "code": record.code,
            "model": record.model,
            "version": record.version,
            "n_structures": record.n_structures,
            "n_atoms": record.n_atoms,
            "duration_ms": round(record.elapsed_s * 1e3, 3),
        }
        level = logging.DEBUG if route in _QUIET_ROUTES else logging.INFO
        logger.log(level, "request", extra={"facts": facts})


class _Reply:
    """Remembers the status that was sent and adds the headers every reply has."""

    def __init__(self, send: Send, record: RequestRecord) -> None:
        self._send = send
        self._headers = (
            (REQUEST_ID_HEADER.lower().encode(), record.request_id.encode()),
            (b"x-content-type-options", b"nosniff"),
        )
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], *self._headers]
        await self._send(message)


def _route_template(scope: Scope) -> str:
    """Path of the matched route with its parameters' names: few values, no secrets."""
    return getattr(scope.get("route"), "path", "unmatched")
