"""The errors that only a session meets."""

from dataclasses import replace

from posterion.errors import PosterionError, RequestError


def within(pointer: str, error: PosterionError) -> PosterionError:
    """The same error of an object that holds the faulty one.

    Args:
        pointer: Where the faulty one is in it, e.g. ``/images/3``.
        error: Its faults point into the faulty one.
    """
    faults = tuple(replace(fault, pointer=pointer + fault.pointer) for fault in error.faults)
    return type(error)(error.detail, faults=faults, retry_after_s=error.retry_after_s)


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
