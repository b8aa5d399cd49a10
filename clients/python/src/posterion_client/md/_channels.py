"""How a step reaches the service: over a WebSocket session, or as a request of its own."""

import json
import logging
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from posterion_client._errors import InvalidReply, PosterionError, UnknownModel
from posterion_client._fields import Node
from posterion_client._refusals import error_of_problem
from posterion_client.md._connection import Endpoint, HttpConnection
from posterion_client.md._frames import (
    MEDIA_TYPE,
    Outputs,
    Reply,
    Structures,
    read_reply,
    request_frame,
    step_frame,
)
from posterion_client.md._pin import Pin, Question
from posterion_client.md._websocket import UpgradeRefusedError, WebSocket, opened

logger = logging.getLogger("posterion_client")

FloatArray = NDArray[np.float64]
Transport = Literal["auto", "websocket", "http"]

_SUBPROTOCOL: Final = "posterion.session.v1"
_HEADERS: Final = {"Content-Type": MEDIA_TYPE, "Accept": f"{MEDIA_TYPE}, application/problem+json"}


class Channel(Protocol):
    """Carries steps; opened again by the next step after a failure."""

    def evaluate(self, structures: Structures, step: int) -> Reply:
        """Send one step and read its reply.

        Raises:
            PosterionError: If there is no reply; the step may be sent again if the error is
                retryable.
        """

    def close(self) -> None:
        """Hang up."""


class RequestChannel:
    """A request for every step; structures may differ from step to step."""

    def __init__(self, endpoint: Endpoint, pin: Pin, question: Question) -> None:
        """Keep what is asked.

        Args:
            endpoint: Where the service is.
            pin: Who must answer.
            question: What is asked.
        """
        self._connection = HttpConnection(endpoint)
        self._pin = pin
        self._question = question

    def evaluate(self, structures: Structures, step: int) -> Reply:
        """Ask about the structures; see `Channel`."""
        question = self._question
        outputs = question.outputs
        if step % question.uncertainty_interval:
            outputs = outputs._replace(uncertainty=False)
        body = request_frame(
            structures,
            outputs,
            precision=question.precision,
            n_samples=question.n_samples,
        )
        held = {} if self._pin.digest is None else {"If-Match": f'"{self._pin.digest}"'}
        try:
            answer = self._connection.post(self._pin.now().predict_path, body, {**_HEADERS, **held})
        except UnknownModel as error:
            raise self._pin.lost(error) from error
        if answer.media_type != MEDIA_TYPE:
            raise InvalidReply(
                f"{answer.url} answered {answer.media_type or 'without a media type'} instead of "
                f"a frame, beginning {answer.beginning}"
            )
        name = answer.headers.get("posterion-model", "").rpartition("@")[0]
        digest = answer.headers.get("etag", "").strip('"')
        if not name or not digest:
            raise InvalidReply(f"{answer.url} does not say which sample set answered")
        self._pin.hold(name, digest)
        return read_reply(answer.content, structures.sizes)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


class SessionChannel:
    """A session of the service; every step has the same atoms."""

    def __init__(self, endpoint: Endpoint, pin: Pin, question: Question) -> None:
        """Keep what is asked; the session is opened with the first structure.

        Args:
            endpoint: Where the service is.
            pin: Who must answer.
            question: What is asked.
        """
        self._endpoint = endpoint
        self._pin = pin
        self._question = question
        self._open: WebSocket | None = None
        self._cells: bytes | None = None

    def evaluate(self, structures: Structures, step: int) -> Reply:
        """Send one step; see `Channel`.

        Raises:
            InvalidReply: Because of an `UpgradeRefusedError`, if something on the way does not
                speak WebSocket.
        """
        try:
            message = self._exchange(structures, step)
        except UpgradeRefusedError as error:
            raise InvalidReply(f"{error}; transport 'http' needs none") from error
        except OSError as error:
            self.close()
            raise self._endpoint.failure(error) from error
        if isinstance(message, str):
            raise _problem_of(message)
        reply = read_reply(message, structures.sizes)
        if reply.step != step:
            self.close()
            raise InvalidReply(f"asked about step {step}, the reply is about {reply.step}")
        return reply

    def close(self) -> None:
        """Leave the session; the next step opens another."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _exchange(self, structures: Structures, step: int) -> str | bytes:
        n_images = len(structures.sizes)
        positions = structures.positions.reshape(n_images, -1, 3)
        if self._open is None:
            self._cells = None
            self._open = self._opened(structures, positions)
        # Kept as bytes: the caller may change the array itself.
        cells = None if structures.cells is None else structures.cells.tobytes()
        known = cells == self._cells
        self._open.send(step_frame(step, positions, None if known else structures.cells))
        message = self._open.receive()
        if isinstance(message, bytes):
            self._cells = cells
        return message

    def _opened(self, structures: Structures, positions: FloatArray) -> WebSocket:
        n_images, n_atoms = positions.shape[:2]
        question, cells = self._question, structures.cells
        outputs = ("energy", "forces", *_named(question.outputs))
        document: dict[str, object] = {
            "structure": {
                "numbers": structures.numbers[:n_atoms].tolist(),
                "positions": positions[0].tolist(),
                "cell": None if cells is None else cells[0].tolist(),
                "pbc": list(structures.pbc),
                "charge": structures.charge,
                "spin_multiplicity": structures.spin_multiplicity,
            },
            "n_images": n_images,
            "outputs": outputs,
            "uncertainty_interval": question.uncertainty_interval,
            "precision": question.precision,
            "n_samples": question.n_samples,
            "digest": self._pin.digest,
        }
        if question.outputs.gradient_of is not None:
            document["gradient_of"] = question.outputs.gradient_of
        path = self._pin.now().session_path
        connection = opened(self._endpoint, path, subprotocol=_SUBPROTOCOL)
        try:
            connection.send(json.dumps(document))
            model = _opening_of(connection.receive())["model"]
            self._pin.hold(model["name"].text(), model["digest"].text())
        except UnknownModel as error:
            connection.close()
            raise self._pin.lost(error) from error
        except BaseException:
            connection.close()
            raise
        return connection


class AutomaticChannel:
    """A session where the service and what lies on the way allow it, else requests."""

    def __init__(self, endpoint: Endpoint, pin: Pin, question: Question) -> None:
        """Keep what is asked; see the other two channels."""
        self._settings = (endpoint, pin, question)
        self._channel: Channel = SessionChannel(*self._settings)

    def evaluate(self, structures: Structures, step: int) -> Reply:
        """Send one step; see `Channel`."""
        try:
            return self._channel.evaluate(structures, step)
        except InvalidReply as error:
            if not isinstance(error.__cause__, UpgradeRefusedError):
                raise
            logger.warning("%s; every step is a request of its own now", error.__cause__)
            self._channel = RequestChannel(*self._settings)
            return self._channel.evaluate(structures, step)

    def close(self) -> None:
        """Hang up."""
        self._channel.close()


def _named(outputs: Outputs) -> list[str]:
    wanted = {
        "stress": outputs.stress,
        "uncertainty": outputs.uncertainty,
        "uncertainty_gradient": outputs.gradient_of is not None,
    }
    return [name for name, asked in wanted.items() if asked]


def _opening_of(message: str | bytes) -> Node:
    if isinstance(message, bytes):
        raise InvalidReply("the service opened the session with a frame instead of a document")
    try:
        document = Node(json.loads(message))
    except ValueError as error:
        raise InvalidReply(f"the service opened the session with {message[:100]!r}") from error
    if document.get("code") is not None:
        raise error_of_problem(document)
    return document


def _problem_of(message: str) -> PosterionError:
    try:
        document = Node(json.loads(message))
    except ValueError:
        return InvalidReply(f"the service answered a step with the text {message[:100]!r}")
    return error_of_problem(document)
