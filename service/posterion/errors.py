"""Which deliberate errors exist, and which stable code and HTTP status each one carries.

PosterionError
├── StructureError      one structure is at fault; its neighbours are served
│     InvalidStructure 422 · UnsupportedElement 422 · UnsupportedProperty 422 ·
│     CompositionMismatch 422 · StructureTooLarge 413
├── EvaluationError     the evaluation of one structure went wrong
│     EvaluationFailed 500 · NonFiniteResult 500
├── RequestError        the whole request is refused
│     MalformedBody 400 · Unauthenticated 401 · Forbidden 403 · NotFound 404 ·
│     UnknownModel 404 · MethodNotAllowed 405 · NotAcceptable 406 · VersionMoved 412 ·
│     TooLarge 413 · UnsupportedMediaType 415 · InvalidRequest 422 · QuotaExceeded 429
├── ServiceError        the service cannot answer now
│     InternalError 500 · Overloaded 503 · NotReady 503 · Draining 503 · DeadlineExceeded 504
└── OperationError      a command of the trainer, the bank or the operator failed
      ConfigurationError · DatasetError · ChainDiverged · CheckpointMismatch ·
      DiagnosticsRefused · BankInvalid
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One place in the input that is wrong.

    Attributes:
        pointer: RFC 6901 JSON pointer into the input, e.g. ``/structures/3/positions``.
        detail: What was expected there and what came.
    """

    pointer: str
    detail: str


class PosterionError(Exception):
    """Base of every deliberate error.

    Attributes:
        code: Stable machine-readable name.
        status: HTTP status when the error answers a request.
        title: Short human-readable summary of the code.
        retryable: Whether the same request may succeed later.
        detail: What happened, with the values concerned.
        faults: Places in the input that are wrong; pointers are relative to the object
            the raiser knows (a structure, or the whole request).
        retry_after_s: When to try again, in seconds, if known.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal"
    retryable: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Spell the title from the code, unless the class says its own."""
        if "title" not in vars(cls):
            cls.title = cls.code.replace("-", " ").capitalize()

    def __init__(
        self,
        detail: str,
        *,
        faults: tuple[Fault, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        """Keep the sentence and the faults that explain the error."""
        super().__init__(detail)
        self.detail, self.faults = detail, faults
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild with keyword-only fields when the error crosses a process."""
        rebuild = partial(type(self), faults=self.faults, retry_after_s=self.retry_after_s)
        return (rebuild, (self.detail,))


class StructureError(PosterionError):
    """One structure cannot be evaluated."""

    code = "invalid-structure"
    status = 422


class InvalidStructure(StructureError):
    """Shapes, cell, numbers or distances are wrong."""


class UnsupportedElement(StructureError):
    """The model was not trained on an element of the structure."""

    code = "unsupported-element"


class UnsupportedProperty(StructureError):
    """The model does not describe what was asked, e.g. a charge."""

    code = "unsupported-property"


class CompositionMismatch(StructureError):
    """What labels have taught is of another composition than the structure's."""

    code = "composition-mismatch"


class StructureTooLarge(StructureError):
    """The structure exceeds the declared number of atoms or edges."""

    code = "structure-too-large"
    status = 413


class EvaluationError(PosterionError):
    """The evaluation of one structure went wrong."""

    code = "evaluation-failed"


class EvaluationFailed(EvaluationError):
    """The model raised while evaluating the structure alone."""


class NonFiniteResult(EvaluationError):
    """The model answered NaN or infinity."""

    code = "non-finite-result"


class RequestError(PosterionError):
    """The whole request is refused."""

    code = "invalid-request"
    status = 422


class MalformedBody(RequestError):
    """The body is not a document of its media type."""

    code = "malformed-body"
    status = 400


class Unauthenticated(RequestError):
    """No valid credentials."""

    code = "unauthenticated"
    status = 401


class Forbidden(RequestError):
    """The credentials do not allow this."""

    code = "forbidden"
    status = 403


class NotFound(RequestError):
    """No such route."""

    code = "not-found"
    status = 404


class UnknownModel(RequestError):
    """No such model, version or alias."""

    code = "unknown-model"
    status = 404


class MethodNotAllowed(RequestError):
    """The route exists, the method does not."""

    code = "method-not-allowed"
    status = 405


class NotAcceptable(RequestError):
    """None of the accepted media types can be produced."""

    code = "not-acceptable"
    status = 406


class VersionMoved(RequestError):
    """The served version is not the one the request is pinned to."""

    code = "version-moved"
    status = 412


class TooLarge(RequestError):
    """The body or the request exceeds a declared limit."""

    code = "too-large"
    status = 413


class UnsupportedMediaType(RequestError):
    """The media type or content encoding is not understood."""

    code = "unsupported-media-type"
    status = 415


class InvalidRequest(RequestError):
    """The document is well formed but not a valid request."""


class QuotaExceeded(RequestError):
    """The caller has used up its share."""

    code = "quota"
    status = 429
    retryable = True


class ServiceError(PosterionError):
    """The service cannot answer now."""


class InternalError(ServiceError):
    """A defect of the service."""


class Overloaded(ServiceError):
    """The queue is full."""

    code = "overloaded"
    status = 503
    retryable = True


class NotReady(ServiceError):
    """The service has not finished loading."""

    code = "not-ready"
    status = 503
    retryable = True


class Draining(ServiceError):
    """The service is shutting down."""

    code = "draining"
    status = 503
    retryable = True


class DeadlineExceeded(ServiceError):
    """The deadline of the request passed before it was evaluated."""

    code = "deadline"
    status = 504
    retryable = True


class OperationError(PosterionError):
    """A command of the trainer, the bank or the operator failed."""

    code = "operation-failed"


class ConfigurationError(OperationError):
    """A configuration file or option is wrong."""

    code = "invalid-configuration"


class DatasetError(OperationError):
    """A data set cannot be read or used."""

    code = "invalid-dataset"


class ChainDiverged(OperationError):
    """A chain left the region where its gradients are finite and could not return."""

    code = "chain-diverged"


class CheckpointMismatch(OperationError):
    """A checkpoint belongs to another configuration, or is damaged."""

    code = "checkpoint-mismatch"


class DiagnosticsRefused(OperationError):
    """The chains did not pass the gates of publication."""

    code = "diagnostics-refused"


class BankInvalid(OperationError):
    """A sample set cannot be turned into a bank."""

    code = "invalid-bank"
