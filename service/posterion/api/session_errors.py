"""The errors that only a session meets."""

from dataclasses import replace

from posterion.errors import InvalidRequest, PosterionError, RequestError


def within(pointer: str, error: PosterionError) -> PosterionError:
    """The same error of an object that holds the faulty one.

    Args:
        pointer: Where the faulty one is in it, e.g. ``/images/3``.
        error: Its faults point into the faulty one.
    """
    faults = tuple(replace(fault, pointer=pointer + fault.pointer) for fault in error.faults)
    return type(error)(error.detail, faults=faults, retry_after_s=error.retry_after_s)


def in_opening(error: InvalidRequest) -> InvalidRequest:
    """The same error with pointers into the document that opens a session.

    Args:
        error: Its faults point into a request for predictions.
    """
    faults = tuple(
        replace(fault, pointer=fault.pointer.removeprefix("/uncertainty")) for fault in error.faults
    )
    return InvalidRequest(error.detail, faults=faults)


class SessionIdle(RequestError):
    """The session said nothing for too long."""

    code = "session-idle"
    status = 408
    retryable = True


class MessageTooLong(RequestError):
    """The message is longer than any step may be."""

    code = "too-large"
    status = 413


class StepOutOfOrder(RequestError):
    """The step is neither newer than the last one nor the last one again."""

    code = "step-out-of-order"
    status = 409
