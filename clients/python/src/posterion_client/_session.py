"""What a client asks and how it reads the answers; all of it but the sending itself.

`Client` and `AsyncClient` share this: a session writes calls and reads responses, and
remembers which sample set each pinned target answered with first.
"""

import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import httpx

from posterion_client._answer import Answer
from posterion_client._catalog import ModelCard
from posterion_client._encoding import MEDIA_TYPES, PROBLEM_TYPE, Encoding
from posterion_client._errors import (
    InvalidArgument,
    InvalidReply,
    ModelChanged,
    PosterionError,
    StructureError,
)
from posterion_client._exchange import Call, document_of
from posterion_client._fields import Node
from posterion_client._labels import Labels, LabelState, Lesson, labels_body, read_lesson
from posterion_client._problem import Problem
from posterion_client._reply import Origin, read_origin, read_results
from posterion_client._request import Indexed, PredictOptions, Target, predict_body
from posterion_client._results import ModelIdentity, Prediction
from posterion_client._structure import Structure, as_structure, looks_like_atoms

DEFAULT_TIMEOUT: Final = httpx.Timeout(60.0, connect=5.0)
CONNECTION_LIMITS: Final = httpx.Limits(
    max_connections=64, max_keepalive_connections=64, keepalive_expiry=60.0
)
_GRACE_S: Final = 5.0  # within it the service's own answer to a missed deadline arrives

Outcome = Prediction | PosterionError


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked about a sequence of structures.

    Attributes:
        target: Which model.
        options: What to compute.
        digest: Sample set that must answer, or None for any.
    """

    target: Target
    options: PredictOptions
    digest: str | None


@dataclass(slots=True, kw_only=True)
class Session:
    """The settings of a client and the sample sets it is pinned to.

    Attributes:
        url: Address of the service.
        target: Which model is meant where a call names none.
        pin: Whether each target must keep answering with its first sample set.
        encoding: How bodies are written.
        timeout: Time limits of each attempt.
    """

    url: str
    target: Target
    pin: bool
    encoding: Encoding
    timeout: httpx.Timeout
    _pins: dict[Target, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Refuse an encoding we cannot write."""
        if self.encoding not in MEDIA_TYPES:
            raise InvalidArgument(
                f"encoding must be one of {sorted(MEDIA_TYPES)}, got {self.encoding!r}"
            )

    def question(
        self,
        *,
        model: str | None,
        version: str | None,
        options: PredictOptions | None,
        digest: str | None,
    ) -> Question:
        """Complete what a call asks with the client's own settings."""
        return Question(
            target=self.target_of(model, version),
            options=options or PredictOptions(),
            digest=digest,
        )

    def target_of(self, model: str | None, version: str | None) -> Target:
        """The target a call means; the client's version belongs to the client's model only."""
        if version is None and model in (None, self.target.model):
            return self.target
        return Target(model=model or self.target.model, version=version)

    def get_call(self, path: str) -> Call:
        """Write a request for a document."""
        return Call(
            method="GET",
            url=f"{self.url}{path}",
            headers={"Accept": f"application/json, {PROBLEM_TYPE}", "X-Request-ID": _new_id()},
            timeout=self.timeout,
        )

    def predict_call(self, question: Question, asked: Sequence[Indexed]) -> Call:
        """Write a request for predictions."""
        structures = [entry.structure for entry in asked]
        content = predict_body(structures, question.options, self.encoding)
        return self._post_call(question, question.target.predict_path, content)

    def read_predictions(
        self, question: Question, asked: Sequence[Indexed], answer: Answer
    ) -> list[Outcome]:
        """Read the answers, and check that the pinned sample set gave them.

        Raises:
            InvalidReply: If the reply is not one of the API.
            ModelChanged: If another sample set answered than the one asked for.
        """
        document, origin = self._read(question, answer)
        return read_results(document, origin, asked)

    def first_state(self, target: Target, card: ModelCard) -> LabelState:
        """The state before any label; a pinned target is held to its first sample set.

        Args:
            target: Which model is meant.
            card: Of the sample set that answers now.
        """
        digest = card.digest
        if self.pin:
            with self._lock:
                digest = self._pins.setdefault(target, card.digest)
        return LabelState(model=card.name, digest=digest)

    def labels_call(
        self, question: Question, asked: Sequence[Indexed], labels: Labels, state: LabelState
    ) -> Call:
        """Write a request with labels."""
        content = labels_body(
            asked, labels, state, options=question.options, encoding=self.encoding
        )
        return self._post_call(question, question.target.labels_path, content)

    def read_lesson(self, question: Question, asked: Sequence[Indexed], answer: Answer) -> Lesson:
        """Read what labels taught, and check that the sample set of the state answered.

        Raises:
            InvalidReply: If the reply is not one of the API.
            ModelChanged: If another sample set answered than the one asked for.
        """
        document, origin = self._read(question, answer)
        return read_lesson(document, origin, asked)

    def _post_call(self, question: Question, path: str, content: bytes) -> Call:
        media_type = MEDIA_TYPES[self.encoding]
        headers = {
            "Accept": f"{media_type}, {PROBLEM_TYPE}",
            "Content-Type": media_type,
            "X-Request-ID": _new_id(),
        }
        digest = self._expected_digest(question)
        if digest is not None:
            headers["If-Match"] = f'"{digest}"'
        return Call(
            method="POST",
            url=f"{self.url}{path}",
            headers=headers,
            content=content,
            timeout=self._timeout_for(question.options),
            deadline_s=question.options.deadline_s,
        )

    def _read(self, question: Question, answer: Answer) -> tuple[Node, Origin]:
        document = document_of(answer)
        origin = read_origin(document, answer.request_id)
        self._check_digest(question, origin.model)
        return document, origin

    def _timeout_for(self, options: PredictOptions) -> httpx.Timeout:
        read_s = self.timeout.read
        if options.deadline_s is None or read_s is None:
            return self.timeout
        limits = self.timeout.as_dict()
        return httpx.Timeout(**{**limits, "read": max(read_s, options.deadline_s + _GRACE_S)})

    def _expected_digest(self, question: Question) -> str | None:
        if question.digest is not None or not self.pin:
            return question.digest
        return self._pins.get(question.target)

    def _check_digest(self, question: Question, model: ModelIdentity) -> None:
        expected = self._expected_digest(question)
        if expected is None and self.pin:
            with self._lock:
                expected = self._pins.setdefault(question.target, model.digest)
        if expected is not None and expected != model.digest:
            raise ModelChanged(
                f"pinned to {expected}, but {model.name} answered with {model.digest}",
                problem=Problem(code=ModelChanged.code, status=412),
            )


def question_about(state: LabelState, options: PredictOptions | None) -> Question:
    """What is asked when labels are compared with the sample set of a state.

    Raises:
        InvalidArgument: If the options ask for what such a reply does not hold.
    """
    options = options or PredictOptions()
    extra = options.stress or options.gradient_of or options.samples != "none"
    if extra or not options.uncertainty:
        raise InvalidArgument(
            "labels are compared with energies and their uncertainty: of the options, only "
            "precision, n_samples and deadline_s apply"
        )
    target = Target(model=state.model, version=state.digest)
    return Question(target=target, options=options, digest=state.digest)


def sort_structures(structures: object) -> tuple[list[Indexed], dict[int, StructureError]]:
    """Read what a caller passed: the structures to send, and those found wrong before.

    Raises:
        InvalidArgument: If it is not a sequence of structures.
    """
    if isinstance(structures, Structure) or looks_like_atoms(structures):
        raise InvalidArgument(
            "expected a sequence of structures, got a single one; use predict for it, or a list"
        )
    if not isinstance(structures, Sequence):
        raise InvalidArgument(
            f"structures must be a sequence, got {type(structures).__name__}; pass list(...)"
        )
    good: list[Indexed] = []
    wrong: dict[int, StructureError] = {}
    for index, value in enumerate(structures):
        checked = _checked(value)
        if isinstance(checked, StructureError):
            checked.index = index
            wrong[index] = checked
        else:
            good.append(Indexed(index, checked))
    return good, wrong


def _checked(value: object) -> Structure | StructureError:
    try:
        return as_structure(value)
    except StructureError as error:
        return error


def raise_first(outcomes: Sequence[Outcome]) -> list[Prediction]:
    """The predictions, if every structure has one; else raise the first error."""
    predictions: list[Prediction] = []
    for outcome in outcomes:
        if isinstance(outcome, PosterionError):
            raise outcome
        predictions.append(outcome)
    return predictions


def only_one(outcomes: Sequence[Outcome]) -> Prediction:
    """The prediction of the only structure asked about, or its error without an index."""
    if len(outcomes) != 1:
        raise InvalidReply(f"asked for one result, got {len(outcomes)}")
    outcome = outcomes[0]
    if isinstance(outcome, PosterionError):
        outcome.index = None
        raise outcome
    return outcome


def _new_id() -> str:
    return uuid.uuid4().hex
