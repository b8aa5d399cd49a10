"""Which errors a client raises, and which code of the service each one answers to.

PosterionError
├── InvalidArgument           invalid-argument       a setting or a call is wrong
├── NoReply                   nothing came back
│   ├── ConnectionFailed      connection-failed      retried
│   └── TimedOut              timed-out              retried
├── InvalidReply              invalid-reply          the answer is not the service's
├── UncertaintyExceeded       uncertainty-exceeded   flags ended a run that was told so
├── StructureError            one structure is at fault; its neighbours are answered
│   ├── InvalidStructure      invalid-structure      422, also found before sending
│   ├── UnsupportedElement    unsupported-element    422
│   ├── UnsupportedProperty   unsupported-property   422
│   ├── CompositionMismatch   composition-mismatch   422, of labels only
│   ├── StructureTooLarge     structure-too-large    413
│   ├── EvaluationFailed      evaluation-failed      500
│   └── NonFiniteResult       non-finite-result      500
├── RequestError              the whole request is refused (4xx)
│   ├── MalformedBody         malformed-body         400
│   ├── Unauthenticated       unauthenticated        401
│   ├── Forbidden             forbidden              403
│   ├── NotFound              not-found              404
│   ├── UnknownModel          unknown-model          404
│   ├── MethodNotAllowed      method-not-allowed     405
│   ├── NotAcceptable         not-acceptable         406
│   ├── ModelChanged          version-moved          412, never retried
│   ├── TooLarge              too-large              413
│   ├── UnsupportedMediaType  unsupported-media-type 415
│   ├── InvalidRequest        invalid-request        422
│   └── QuotaExceeded         quota                  429, retried
└── ServiceError              the service cannot answer (5xx)
    ├── InternalError         internal               500
    └── Unavailable           unavailable            of a proxy before it, retried
        ├── Overloaded        overloaded             503, retried
        ├── NotReady          not-ready              503, retried
        ├── Draining          draining               503, retried
        └── DeadlineExceeded  deadline               504, retried
"""

from posterion_client._problem import Problem


class PosterionError(Exception):
    """Base of every deliberate error of this package.

    Attributes:
        detail: What happened, with the values concerned.
        code: Stable machine-readable name; the service's own where it gave one.
        status: HTTP status the service gave, or None.
        faults: Places in the input that are wrong.
        retryable: Whether the same request may succeed later.
        retry_after_s: When the service asked to be tried again, in seconds, or None.
        request_id: Identifier of the request in the service's logs, or None.
        index: Position of the structure in the call, or None.
        attempts: How often the request was sent before giving up.
    """

    code: str = "client-error"
    retryable: bool = False

    def __init__(
        self, detail: str, *, problem: Problem | None = None, index: int | None = None
    ) -> None:
        """Keep the sentence, what the service said, and which structure is meant."""
        super().__init__(detail)
        self._problem = problem
        self.detail = detail
        self.index = index
        self.attempts = 1
        said = problem or Problem(code=self.code)
        self.code = said.code
        self.status = said.status
        self.faults = said.faults
        self.retry_after_s = said.retry_after_s
        self.request_id = said.request_id
        self.retryable = self.retryable and said.retryable is not False

    def __str__(self) -> str:
        """One paragraph: code, structure, sentence, places, how often it was tried."""
        where = "" if self.index is None else f" (structure {self.index})"
        unsaid = [fault for fault in self.faults if fault.detail not in self.detail]
        faults = "".join(f"; {fault.pointer}: {fault.detail}" for fault in unsaid[:3])
        more = f"; and {len(unsaid) - 3} more places" if len(unsaid) > 3 else ""
        tried = f" [gave up after {self.attempts} attempts]" if self.attempts > 1 else ""
        request = f" [request {self.request_id}]" if self.request_id else ""
        return f"{self.code}{where}: {self.detail}{faults}{more}{tried}{request}"

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild with keyword-only fields when the error crosses a process."""
        return (_rebuild, (type(self), self.detail, self._problem, self.index, self.attempts))


def _rebuild(
    kind: type[PosterionError], detail: str, said: Problem | None, index: int | None, attempts: int
) -> PosterionError:
    error = kind(detail, problem=said, index=index)
    error.attempts = attempts
    return error


class InvalidArgument(PosterionError, ValueError):
    """A setting of the client or an argument of a call is wrong; nothing was sent."""

    code = "invalid-argument"


class NoReply(PosterionError):
    """No answer came back."""

    code = "no-reply"
    retryable = True


class ConnectionFailed(NoReply):
    """The connection was refused, reset or cut."""

    code = "connection-failed"


class TimedOut(NoReply):
    """Connecting or waiting for the answer took too long."""

    code = "timed-out"


class InvalidReply(PosterionError):
    """The answer is not one of the Posterion API: HTML, truncated, wrong shapes."""

    code = "invalid-reply"


class StructureError(PosterionError):
    """One structure cannot be evaluated."""

    code = "invalid-structure"


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
    """The structure exceeds the number of atoms or edges the service takes."""

    code = "structure-too-large"


class EvaluationFailed(StructureError):
    """The model raised while evaluating the structure."""

    code = "evaluation-failed"


class NonFiniteResult(StructureError):
    """The model answered NaN or infinity for the structure."""

    code = "non-finite-result"


class RequestError(PosterionError):
    """The whole request is refused."""

    code = "request-refused"


class MalformedBody(RequestError):
    """The service could not read the body."""

    code = "malformed-body"


class Unauthenticated(RequestError):
    """The service wants credentials."""

    code = "unauthenticated"


class Forbidden(RequestError):
    """The credentials do not allow this."""

    code = "forbidden"


class NotFound(RequestError):
    """The service has no such route."""

    code = "not-found"


class UnknownModel(RequestError):
    """The service has no such model, version or alias."""

    code = "unknown-model"


class MethodNotAllowed(RequestError):
    """The route exists, the method does not."""

    code = "method-not-allowed"


class NotAcceptable(RequestError):
    """The service cannot answer in the encoding asked for."""

    code = "not-acceptable"


class ModelChanged(RequestError):
    """The service now answers with another sample set than the one pinned."""

    code = "version-moved"


class TooLarge(RequestError):
    """The request exceeds a limit the service declares."""

    code = "too-large"


class UnsupportedMediaType(RequestError):
    """The service does not understand the encoding of the request."""

    code = "unsupported-media-type"


class InvalidRequest(RequestError):
    """The document is well formed but not a valid request."""

    code = "invalid-request"


class QuotaExceeded(RequestError):
    """The caller has used up its share for now."""

    code = "quota"
    retryable = True


class ServiceError(PosterionError):
    """The service cannot answer."""

    code = "service-error"


class InternalError(ServiceError):
    """A defect of the service."""

    code = "internal"


class Unavailable(ServiceError):
    """The service cannot answer now; a later attempt may succeed."""

    code = "unavailable"
    retryable = True


class Overloaded(Unavailable):
    """The queue of the service is full."""

    code = "overloaded"


class NotReady(Unavailable):
    """The service has not finished loading."""

    code = "not-ready"


class Draining(Unavailable):
    """The service is shutting down."""

    code = "draining"


class DeadlineExceeded(Unavailable):
    """The deadline of the request passed before it was evaluated."""

    code = "deadline"
