"""One request and what its attempts came to, without the sending."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from posterion_client._answer import Answer
from posterion_client._encoding import decode_document
from posterion_client._errors import (
    ConnectionFailed,
    InvalidArgument,
    InvalidReply,
    PosterionError,
    TimedOut,
)
from posterion_client._fields import Node
from posterion_client._problem import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, ready to be sent as often as needed.

    Attributes:
        method: HTTP method.
        url: Full address.
        headers: Headers beyond those of every request of the client.
        content: Body, or None.
        timeout: Time limits of each attempt.
        deadline_s: Seconds after which the caller no longer wants the answer, or None.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    timeout: httpx.Timeout
    deadline_s: float | None = None


def error_of_failure(failure: httpx.HTTPError, call: Call) -> PosterionError:
    """The error for an attempt that brought no response at all."""
    said = str(failure) or type(failure).__name__
    if isinstance(failure, httpx.TimeoutException):
        phase = type(failure).__name__.removesuffix("Timeout").lower()
        limit = call.timeout.as_dict().get(phase)
        return _no_reply(TimedOut, f"no {phase} within {limit} s at {call.url}", call)
    if isinstance(failure, httpx.DecodingError | httpx.TooManyRedirects):
        return InvalidReply(f"the reply of {call.url} cannot be read: {said}")
    if isinstance(failure, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
        return InvalidArgument(f"the request to {call.url} cannot be sent: {said}")
    error = _no_reply(ConnectionFailed, f"no connection to {call.url}: {said}", call)
    error.retryable = not _is_refused_certificate(failure)
    return error


def document_of(answer: Answer) -> Node:
    """Decode the body of a successful answer.

    Raises:
        InvalidReply: If the body is HTML, truncated, or otherwise no document of the API.
    """
    try:
        return Node(decode_document(answer.content, answer.media_type))
    except ValueError as error:
        raise InvalidReply(
            f"{answer.url} answered {answer.status} with {len(answer.content)} bytes of "
            f"{answer.media_type or 'no media type'} that are no reply of Posterion ({error}), "
            f"beginning {answer.beginning}"
        ) from error


def _no_reply(kind: type[PosterionError], detail: str, call: Call) -> PosterionError:
    request_id = call.headers.get("X-Request-ID")
    return kind(detail, problem=Problem(code=kind.code, request_id=request_id))


def _is_refused_certificate(failure: BaseException) -> bool:
    """Whether a chain of causes holds a refused TLS certificate: repeating cannot help."""
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
