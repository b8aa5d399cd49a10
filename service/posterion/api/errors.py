"""How every error becomes an ``application/problem+json`` reply (RFC 9457)."""

import math
from collections.abc import Mapping
from typing import Final

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from posterion.api.record import RequestRecord, record_of
from posterion.errors import (
    InternalError,
    InvalidRequest,
    MalformedBody,
    MethodNotAllowed,
    NotFound,
    PosterionError,
    TooLarge,
)

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"
MAX_FAULTS: Final = 10
DEFAULT_RETRY_AFTER_S: Final = 1.0

_FRAMEWORK_ERRORS: Final[Mapping[int, PosterionError]] = {
    error.status: error
    for error in (
        MalformedBody("the request cannot be read"),
        NotFound("no such route; GET /v1 and /openapi.json list what there is"),
        MethodNotAllowed("the route exists, this method does not; see the Allow header"),
        TooLarge("the request exceeds a limit"),
        InvalidRequest("the request is not valid"),
    )
}


def problem_document(
    error: PosterionError, request_id: str, *, pointer_prefix: str = ""
) -> dict[str, object]:
    """Describe an error as a problem object; nothing of the request is quoted.

    Args:
        error: What went wrong.
        request_id: Identifies the request.
        pointer_prefix: Where the object that the faults point into is in the request.

    Returns:
        The members of RFC 9457 and ours, with at most ten faults.
    """
    return {
        "type": f"urn:posterion:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "instance": f"urn:request:{request_id}",
        "code": error.code,
        "errors": [
            {"pointer": pointer_prefix + fault.pointer, "detail": fault.detail}
            for fault in error.faults[:MAX_FAULTS]
        ],
        "retryable": error.retryable,
    }


def problem_response(
    error: PosterionError,
    record: RequestRecord,
    *,
    pointer_prefix: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer a request with an error.

    Args:
        error: What went wrong.
        record: Of the request; takes note of the code.
        pointer_prefix: Where the object that the faults point into is in the request.
        headers: Further headers.

    Returns:
        The reply; 429 and 503 say when to try again.
    """
    record.code = error.code
    all_headers = dict(headers or {})
    if error.status in (429, 503):
        seconds = DEFAULT_RETRY_AFTER_S if error.retry_after_s is None else error.retry_after_s
        all_headers["Retry-After"] = str(max(1, math.ceil(seconds)))
    document = problem_document(error, record.request_id, pointer_prefix=pointer_prefix)
    return Response(
        orjson.dumps(document),
        status_code=error.status,
        headers=all_headers,
        media_type=PROBLEM_MEDIA_TYPE,
    )


def install_error_handlers(app: FastAPI) -> None:
    """Answer our own errors and the framework's as problems."""
    app.add_exception_handler(PosterionError, _answer_posterion_error)
    app.add_exception_handler(HTTPException, _answer_framework_error)
    app.add_exception_handler(RequestValidationError, _answer_unreadable_request)


async def _answer_posterion_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, PosterionError)
    return problem_response(error, record_of(request.scope))


async def _answer_framework_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = _FRAMEWORK_ERRORS.get(error.status_code)
    problem = known or InternalError(f"the framework answered {error.status_code}")
    return problem_response(problem, record_of(request.scope), headers=error.headers)


async def _answer_unreadable_request(request: Request, _error: Exception) -> Response:
    # The framework's own reply would quote the input, and fail where that is not JSON.
    return problem_response(_FRAMEWORK_ERRORS[422], record_of(request.scope))
