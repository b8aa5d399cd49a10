"""What is known about one request while it is being answered."""

import re
import secrets
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final

REQUEST_ID_HEADER: Final = "X-Request-ID"
_ACCEPTABLE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:~-]{0,127}")
_ID_FIELD: Final = REQUEST_ID_HEADER.lower().encode()
_STATE_KEY: Final = "posterion_record"


@dataclass(slots=True, kw_only=True)
class RequestRecord:
    """Facts for the log line and the metrics, filled in as they become known.

    The one mutable record of the API: it lives as long as its request.

    Attributes:
        request_id: The caller's, or made here.
        started: ``time.perf_counter()`` on arrival, seconds.
        code: Code of the problem answered; None on success.
        model: Name of the model, once it is known to exist.
        version: Version that answered.
        n_structures: Structures in the request.
        n_atoms: Atoms in its valid structures.
        afterwards: What is to be counted once the caller has the reply.
    """

    request_id: str
    started: float = field(default_factory=time.perf_counter)
    code: str | None = None
    model: str | None = None
    version: str | None = None
    n_structures: int | None = None
    n_atoms: int | None = None
    afterwards: list[Callable[[], None]] = field(default_factory=list)

    @property
    def elapsed_s(self) -> float:
        """Seconds since arrival."""
        return time.perf_counter() - self.started


def header_of(scope: MutableMapping[str, Any], name: bytes) -> str | None:
    """The first value of a header; None if there is none.

    Args:
        scope: ASGI scope of an HTTP request.
        name: In lower case.
    """
    for field_name, value in scope["headers"]:
        if field_name == name:
            text: str = value.decode("latin-1")
            return text
    return None


def open_record(scope: MutableMapping[str, Any]) -> RequestRecord:
    """Start the record of a request and keep it in the request's state.

    Args:
        scope: ASGI scope of an HTTP request.

    Returns:
        The record; a caller's request id is kept if it is short and plain.
    """
    offered = header_of(scope, _ID_FIELD) or ""
    request_id = offered if _ACCEPTABLE_ID.fullmatch(offered) else secrets.token_hex(16)
    record = RequestRecord(request_id=request_id)
    scope.setdefault("state", {})[_STATE_KEY] = record
    return record


def record_of(scope: MutableMapping[str, Any]) -> RequestRecord:
    """The record that `open_record` kept."""
    record = scope["state"][_STATE_KEY]
    assert isinstance(record, RequestRecord)
    return record
