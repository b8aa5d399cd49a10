"""Which error a refused request, or a refused structure, becomes."""

from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Final

from posterion_client import _errors as errors
from posterion_client._answer import Answer
from posterion_client._encoding import decode_document
from posterion_client._fields import Node
from posterion_client._problem import Fault, Problem

_KINDS: Final[Mapping[str, type[errors.PosterionError]]] = {
    kind.code: kind
    for kind in (
        errors.InvalidStructure,
        errors.UnsupportedElement,
        errors.UnsupportedProperty,
        errors.CompositionMismatch,
        errors.StructureTooLarge,
        errors.EvaluationFailed,
        errors.NonFiniteResult,
        errors.MalformedBody,
        errors.Unauthenticated,
        errors.Forbidden,
        errors.NotFound,
        errors.UnknownModel,
        errors.MethodNotAllowed,
        errors.NotAcceptable,
        errors.ModelChanged,
        errors.TooLarge,
        errors.UnsupportedMediaType,
        errors.InvalidRequest,
        errors.QuotaExceeded,
        errors.InternalError,
        errors.Overloaded,
        errors.NotReady,
        errors.Draining,
        errors.DeadlineExceeded,
    )
}
_KINDS_BY_STATUS: Final[Mapping[int, type[errors.PosterionError]]] = {
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    412: errors.ModelChanged,
    413: errors.TooLarge,
    429: errors.QuotaExceeded,
    500: errors.Unavailable,  # the service describes its own defects: this is someone before it
    502: errors.Unavailable,
    503: errors.Unavailable,
    504: errors.Unavailable,
}


def error_of_answer(answer: Answer) -> errors.PosterionError | None:
    """The error an answer stands for, or None for a success (2xx)."""
    if 200 <= answer.status < 300:
        return None
    if answer.status < 400:
        location = answer.headers.get("location", "nowhere")
        return errors.InvalidReply(
            f"{answer.url} answered {answer.status} and points to {location}; "
            "give the client the final address"
        )
    try:
        document = Node(decode_document(answer.content, answer.media_type))
        return _error_of_document(document, answer)
    except (ValueError, errors.InvalidReply):
        return _error_of_status(answer)


def error_of_structure(
    document: Node, *, index: int, request_id: str | None
) -> errors.PosterionError:
    """The error of one structure in an otherwise successful reply.

    Args:
        document: The problem object of the result.
        index: Position of the structure in the caller's sequence.
        request_id: Identifier of the request in the service's logs, if known.
    """
    code = document["code"].text()
    kind = _KINDS.get(code, errors.StructureError)
    problem = Problem(
        code=code,
        status=document["status"].integer(),
        faults=tuple(_relative(fault) for fault in _faults(document)),
        request_id=request_id,
    )
    return kind(_sentence(document), problem=problem, index=index)


def retry_after_s(answer: Answer) -> float | None:
    """Seconds the service asks to wait, from ``Retry-After`` as a number or a date."""
    value = answer.headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        return _seconds_until(value, answer)
    return seconds if 0 < seconds < float("inf") else None


def _seconds_until(value: str, answer: Answer) -> float | None:
    try:
        then = parsedate_to_datetime(value)
        now_text = answer.headers.get("date")
        now = parsedate_to_datetime(now_text) if now_text else datetime.now(timezone.utc)
        seconds = (then - now).total_seconds()
    except (TypeError, ValueError):  # no date, or one with and one without a time zone
        return None
    return seconds if seconds > 0 else None


def error_of_problem(
    document: Node,
    *,
    status: int | None = None,
    retry_after_s: float | None = None,
    request_id: str | None = None,
) -> errors.PosterionError:
    """The error that a problem document is about.

    Args:
        document: The document.
        status: HTTP status it came with; default is its own.
        retry_after_s: When the service asks to be tried again, if it said.
        request_id: Identifier of the request in the service's logs, if known.
    """
    said = document["status"].integer() if status is None else status
    code = document["code"].text()
    kind = _KINDS.get(code) or _kind_of_status(said)
    retryable = document.get("retryable")
    problem = Problem(
        code=code,
        status=said,
        faults=_faults(document),
        retryable=retryable.boolean() if retryable else None,
        retry_after_s=retry_after_s,
        request_id=request_id,
    )
    return kind(_sentence(document), problem=problem)


def _error_of_document(document: Node, answer: Answer) -> errors.PosterionError:
    return error_of_problem(
        document,
        status=answer.status,
        retry_after_s=retry_after_s(answer),
        request_id=answer.request_id,
    )


def _error_of_status(answer: Answer) -> errors.PosterionError:
    kind = _kind_of_status(answer.status)
    problem = Problem(
        code=kind.code,
        status=answer.status,
        retry_after_s=retry_after_s(answer),
        request_id=answer.request_id,
    )
    return kind(
        f"{answer.url} answered {answer.status} with "
        f"{answer.media_type or 'no media type'} instead of a problem document, "
        f"beginning {answer.beginning}",
        problem=problem,
    )


def _kind_of_status(status: int) -> type[errors.PosterionError]:
    general = errors.RequestError if status < 500 else errors.ServiceError
    return _KINDS_BY_STATUS.get(status, general)


def _sentence(document: Node) -> str:
    sentence = document.get("detail") or document.get("title")
    return sentence.text() if sentence else "the service gave no detail"


def _faults(document: Node) -> tuple[Fault, ...]:
    listed = document.get("errors")
    return tuple(
        Fault(pointer=fault["pointer"].text(), detail=fault["detail"].text())
        for fault in (listed.items() if listed else ())
    )


def _relative(fault: Fault) -> Fault:
    """Drop ``/structures/<i>``: i counts within one request, which the caller never saw."""
    parts = fault.pointer.split("/")
    if len(parts) > 2 and parts[1] == "structures" and parts[2].isdigit():
        return Fault(pointer="/".join(["", *parts[3:]]), detail=fault.detail)
    return fault
