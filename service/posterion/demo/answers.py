"""What the service says about the four structures, asked together and one by one."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from posterion.demo.failure import DemoFailed
from posterion.demo.molecules import Subject
from posterion_client import Client, ModelCard, ModelIdentity, PosterionError, Prediction

N_TIMED_CALLS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """The outcome for one structure.

    Attributes:
        subject: What was asked about.
        outcome: The prediction, or the structure's own error.
        call_ms: Median time of a request with this structure alone, milliseconds.
    """

    subject: Subject
    outcome: Prediction | PosterionError
    call_ms: float

    @property
    def prediction(self) -> Prediction | None:
        """The prediction, if there is one."""
        return None if isinstance(self.outcome, PosterionError) else self.outcome


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """What came back, and from whom.

    Attributes:
        model: Which sample set answered.
        force_threshold: Spread of the forces above which a structure is flagged, eV/Angstrom.
        items: One answer per structure, in the order asked.
        request_ms: Time of the one request that held all structures, milliseconds.
    """

    model: ModelIdentity
    force_threshold: float
    items: tuple[Answer, ...]
    request_ms: float

    def of(self, key: str) -> Answer:
        """The answer about one structure."""
        return next(answer for answer in self.items if answer.subject.key == key)


def ask(client: Client, subjects: Sequence[Subject]) -> Answers:
    """Ask about all structures in one request, then time each alone.

    Args:
        client: Of the service.
        subjects: The structures.

    Raises:
        DemoFailed: If no structure is answered, or the request fails as a whole.
    """
    try:
        card = client.model()
        started = time.perf_counter()
        outcomes = client.predict_many([each.atoms for each in subjects], on_error="return")
        request_ms = 1e3 * (time.perf_counter() - started)
        calls_ms = [_call_ms(client, subject) for subject in subjects]
    except PosterionError as error:
        raise DemoFailed(f"the request with {len(subjects)} structures failed: {error}") from error
    predictions = [each for each in outcomes if isinstance(each, Prediction)]
    if not predictions:
        raise DemoFailed(f"not one structure was answered; the first error is {outcomes[0]}")
    return Answers(
        model=predictions[0].model,
        force_threshold=_force_threshold(card),
        items=tuple(
            Answer(subject=subject, outcome=outcome, call_ms=call_ms)
            for subject, outcome, call_ms in zip(subjects, outcomes, calls_ms, strict=True)
        ),
        request_ms=request_ms,
    )


def _call_ms(client: Client, subject: Subject) -> float:
    times = []
    for _ in range(N_TIMED_CALLS):
        started = time.perf_counter()
        client.predict_many([subject.atoms], on_error="return")
        times.append(1e3 * (time.perf_counter() - started))
    return median(times)


def _force_threshold(card: ModelCard) -> float:
    match card.document:
        case {"thresholds": {"force_epistemic_max": {"candidate": float(threshold)}}}:
            return threshold
    raise DemoFailed(f"the card of {card.name} states no threshold for force_epistemic_max")
