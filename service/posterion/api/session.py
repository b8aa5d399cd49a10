"""One session: a WebSocket on which the atoms of one trajectory move, step by step.

ASGI without a framework in between: every step passes here. A step is answered before the
next message is read, so a client that does not read its replies holds up itself alone.
"""

import asyncio
import logging
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import orjson
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from posterion.api.dependencies import ModelPath, Service
from posterion.api.errors import problem_document
from posterion.api.frame_replies import ReplyHeader, encode_reply
from posterion.api.frame_requests import read_step
from posterion.api.record import RequestRecord, open_record
from posterion.api.replies import finite_or_error
from posterion.api.session_errors import (
    MessageTooLong,
    SessionIdle,
    StepOutOfOrder,
    in_opening,
    within,
)
from posterion.api.session_opening import SUBPROTOCOL, Opening, read_opening
from posterion.api.sessions import Interruptible
from posterion.api.stepper import Stepper, StepReply
from posterion.errors import (
    DeadlineExceeded,
    Draining,
    EvaluationError,
    Forbidden,
    InternalError,
    InvalidRequest,
    MalformedBody,
    Overloaded,
    PosterionError,
    StructureError,
    TooLarge,
    VersionMoved,
)
from posterion.observability.logging import bind_request_id
from posterion.structures.prediction import Prediction

MESSAGE_TOO_BIG: Final = 1009
SERVICE_RESTART: Final = 1012
CLOSE_BASE: Final = 4000
"""A session that an error ends is closed with this number plus the error's status."""

_OF_ONE_STEP: Final = (
    StructureError,
    EvaluationError,
    TooLarge,
    Overloaded,
    DeadlineExceeded,
    StepOutOfOrder,
)
"""What one step may be refused for while the session goes on."""

Message = MutableMapping[str, Any]

logger = logging.getLogger("posterion.api")


class ClientLeft(Exception):
    """The client closed the session, its connection broke, or it does not read."""


@dataclass(slots=True)
class _Last:
    """The last step that was answered; the one thing a session keeps but its neighbours."""

    step: int
    body: bytes
    reply: bytes


class Session:
    """Answers one WebSocket, from its first message to its end."""

    def __init__(self, service: Service, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the connection.

        Args:
            service: Answers it.
            scope: Of the WebSocket.
            receive: Its messages.
            send: Where replies go.
        """
        self._service = service
        self._scope = scope
        self._receive = receive
        self._send = send
        self._record: RequestRecord = open_record(scope)
        self._last: _Last | None = None
        self._n_steps = 0
        self._n_rebuilds = 0

    async def run(self, path: Callable[[], ModelPath]) -> None:
        """Serve the session until either side ends it.

        Args:
            path: Finds the model and version that the route names.
        """
        code = "ok"
        with bind_request_id(self._record.request_id):
            try:
                await self._accept()
                with self._service.sessions.admit() as presence:
                    await self._serve(path(), presence)
            except (ClientLeft, OSError):
                pass
            except PosterionError as error:
                code = error.code
                await self._close(error)
            except Exception:
                logger.exception("unexpected error")
                code = InternalError.code
                await self._close(InternalError("the service failed; its log has this request id"))
            finally:
                self._account(code)

    async def _accept(self) -> None:
        await self._receive()
        offered = self._scope.get("subprotocols", [])
        known = SUBPROTOCOL in offered
        await self._say({"type": "websocket.accept", "subprotocol": SUBPROTOCOL if known else None})
        headers = Headers(scope=self._scope)
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != headers.get("host"):
            raise Forbidden("a page of another origin may not open a session")
        if not known:
            raise InvalidRequest(f"expected the subprotocol {SUBPROTOCOL}")

    async def _serve(self, path: ModelPath, presence: Interruptible) -> None:
        message = await self._next(presence, self._service.settings.body_timeout_s)
        text = message.get("text")
        if text is None:
            raise MalformedBody("expected a JSON text as the first message")
        settings = self._service.settings
        opening = await self._service.predictions.run(
            partial(read_opening, text, settings), large=len(text) > settings.offload_bytes
        )
        stepper = await self._open(path, opening)
        self._record.n_atoms = opening.steps.structure.n_atoms
        self._record.n_structures = opening.steps.n_images
        document = orjson.dumps(opening.reply(stepper.model)).decode()
        await self._say({"type": "websocket.send", "text": document})
        while True:
            message = await self._next(presence, settings.session_idle_s)
            frame = message.get("bytes")
            if frame is None:
                raise MalformedBody("expected a binary message for every step")
            await self._answer(frame, opening, stepper)

    async def _open(self, path: ModelPath, opening: Opening) -> Stepper:
        backend = self._service.backend
        identity = backend.identity(path.name, path.version)
        self._record.model = identity.name
        pin = opening.request.digest
        if pin is not None and pin != identity.digest:
            raise VersionMoved(f'the session is pinned to another version than "{identity.digest}"')
        try:
            # By its digest: an alias may move between the two calls.
            stepper = await backend.open_steps(path.name, identity.digest, opening.steps)
        except StructureError as error:
            raise within("/structure", error) from None
        except InvalidRequest as error:
            raise in_opening(error) from None
        self._record.version = stepper.model.version
        return stepper

    async def _next(self, presence: Interruptible, patience_s: float) -> Message:
        message: Message = {}
        try:
            with presence.waiting():
                async with asyncio.timeout(patience_s):
                    message = await self._receive()
        except TimeoutError:
            raise SessionIdle(f"expected a message within {patience_s:g} s") from None
        if message["type"] == "websocket.disconnect":
            raise ClientLeft
        longest = self._service.settings.max_frame_bytes
        said = message.get("bytes") or (message.get("text") or "").encode()
        if len(said) > longest:
            raise MessageTooLong(f"expected at most {longest} bytes, got {len(said)}")
        return message

    async def _say(self, message: Message) -> None:
        """Send a message, to a client that reads."""
        try:
            async with asyncio.timeout(self._service.settings.body_timeout_s):
                await self._send(message)
        except TimeoutError:
            raise ClientLeft from None

    async def _answer(self, frame: bytes, opening: Opening, stepper: Stepper) -> None:
        """Answer one step, with its reply or with the problem that it has."""
        try:
            reply = await self._reply(frame, opening, stepper)
        except _OF_ONE_STEP as error:
            self._service.sessions.metrics.count_step(stepper.model.name, error.code, 0)
            await self._tell(error)
        else:
            await self._say({"type": "websocket.send", "bytes": reply})

    async def _reply(self, frame: bytes, opening: Opening, stepper: Stepper) -> bytes:
        structure = opening.steps.structure
        asked = read_step(frame, opening.steps.n_images, structure.n_atoms)
        last, body = self._last, frame[64:]
        if last is not None and asked.step <= last.step:
            if asked.step == last.step and body == last.body:
                return last.reply
            raise StepOutOfOrder(f"expected a step after {last.step}, or that one unchanged")
        angstrom = opening.request.units.system.angstrom
        positions, cells = asked.positions, asked.cells
        if angstrom != 1.0:
            positions = positions * angstrom
            cells = None if cells is None else cells * angstrom
        deadline_s = None if asked.deadline_ms is None else asked.deadline_ms / 1e3
        done = await stepper.step(positions, cells, deadline_s=deadline_s)
        timing = done.timing
        header = ReplyHeader(
            step=asked.step,
            outputs=opening.outputs(asked.step),
            timing_ms=(timing.queue_ms, timing.graph_ms, timing.evaluate_ms),
            n_rebuilds=done.n_rebuilds,
        )
        reply = await self._service.predictions.run(
            lambda: encode_reply(_predictions(done), header, opening.request.units.system),
            large=asked.positions.size > self._service.settings.offload_numbers,
        )
        self._last = _Last(asked.step, body, reply)
        self._count(done, stepper.model.name)
        return reply

    def _count(self, done: StepReply, model: str) -> None:
        self._n_steps += 1
        self._n_rebuilds += done.n_rebuilds
        self._service.sessions.metrics.count_step(model, "ok", done.n_rebuilds)
        for result in done.results:
            if isinstance(result, Prediction):
                for flag in result.flags:
                    self._service.metrics.count_flag(
                        model=model, code=flag.code, severity=flag.severity
                    )

    async def _tell(self, error: PosterionError) -> None:
        document = problem_document(error, self._record.request_id)
        await self._say({"type": "websocket.send", "text": orjson.dumps(document).decode()})

    async def _close(self, error: PosterionError) -> None:
        """Say what went wrong and close; who is gone already is not told."""
        code = CLOSE_BASE + error.status
        if isinstance(error, Draining):
            code = SERVICE_RESTART
        elif isinstance(error, MessageTooLong):
            code = MESSAGE_TOO_BIG
        try:
            await self._tell(error)
            await self._say({"type": "websocket.close", "code": code, "reason": error.code})
        except (ClientLeft, OSError, RuntimeError):
            logger.debug("the client left before it was told")

    def _account(self, code: str) -> None:
        record = self._record
        self._service.sessions.metrics.count_end(code)
        facts = {
            "route": getattr(self._scope.get("route"), "path", None),
            "code": code,
            "model": record.model,
            "version": record.version,
            "n_images": record.n_structures,
            "n_atoms": record.n_atoms,
            "n_steps": self._n_steps,
            "n_rebuilds": self._n_rebuilds,
            "duration_ms": round(record.elapsed_s * 1e3, 3),
        }
        logger.info("session", extra={"facts": facts})


def _predictions(done: StepReply) -> list[Prediction]:
    """The results of a step if every image has one; else the error of the first that has not."""
    found: list[Prediction] = []
    for index, result in enumerate(done.results):
        outcome = finite_or_error(result)
        if isinstance(outcome, PosterionError):
            raise within(f"/images/{index}", outcome)
        found.append(outcome)
    return found
