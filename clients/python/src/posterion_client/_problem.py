"""What an error says besides its sentence: code, status, places, when to try again."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One place in the input that is wrong.

    Attributes:
        pointer: RFC 6901 JSON pointer; relative to the structure in a structure's error,
            else to the request, e.g. ``/positions/3``.
        detail: What was expected there and what came.
    """

    pointer: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What the service said about an error (RFC 9457), and what its headers added.

    Attributes:
        code: Stable machine-readable name.
        status: HTTP status of the error; None if it was found before sending.
        faults: Places in the input that are wrong.
        retryable: Whether the same request may succeed later; None if unsaid.
        retry_after_s: When to try again, in seconds from the reply, if said.
        request_id: Identifier of the request in the service's logs, if known.
    """

    code: str
    status: int | None = None
    faults: tuple[Fault, ...] = ()
    retryable: bool | None = None
    retry_after_s: float | None = None
    request_id: str | None = None
