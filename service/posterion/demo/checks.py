"""Whether what the demo saw is as it should be."""

from dataclasses import dataclass
from typing import Final

from posterion.demo.answers import Answer, Answers
from posterion.demo.dynamics import Trajectory
from posterion_client import PosterionError, UnsupportedElement

MAX_DRIFT_MEV_PER_ATOM: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One expectation.

    Attributes:
        name: What is expected.
        passed: Whether it was met.
        seen: What was seen.
    """

    name: str
    passed: bool
    seen: str


def check(answers: Answers, trajectory: Trajectory) -> tuple[Check, ...]:
    """Judge everything that was shown.

    Args:
        answers: About the four structures.
        trajectory: The run at constant energy.
    """
    drift = trajectory.drift_mev_per_atom
    return (
        _has_status("ethanol at rest is not flagged", answers.of("rest"), "ok"),
        _has_status("ethanol at 300 K is not flagged", answers.of("thermal"), "ok"),
        _has_status("the stretched C-H bond is flagged", answers.of("stretched"), "flagged"),
        _errs_alone(answers),
        Check(
            name=f"the energy drifts by less than {MAX_DRIFT_MEV_PER_ATOM:g} meV/atom in NVE",
            # Written so that NaN fails.
            passed=drift < MAX_DRIFT_MEV_PER_ATOM,
            seen=f"{drift:.3f} meV/atom over {len(trajectory.moments) - 1} steps",
        ),
    )


def describe(answer: Answer) -> str:
    """Say in a few words how a structure was answered: its flags with their evidence."""
    if isinstance(answer.outcome, PosterionError):
        return f"{answer.outcome.code}: {answer.outcome.detail}"
    evidence = (
        f"{flag.code} ({flag.severity}): {flag.value:.3g} > {flag.threshold:.3g} {flag.unit}"
        for flag in answer.outcome.flags
    )
    return ", ".join(evidence) or "no flag"


def _has_status(name: str, answer: Answer, status: str) -> Check:
    prediction = answer.prediction
    passed = prediction is not None and prediction.status == status
    return Check(name=name, passed=passed, seen=describe(answer))


def _errs_alone(answers: Answers) -> Check:
    culprit = answers.of("unknown_element")
    neighbours = [each for each in answers.items if each is not culprit]
    answered = sum(each.prediction is not None for each in neighbours)
    return Check(
        name="the unknown element is refused by itself, its neighbours are answered",
        passed=isinstance(culprit.outcome, UnsupportedElement) and answered == len(neighbours),
        seen=f"{describe(culprit)}; {answered} of {len(neighbours)} neighbours answered",
    )
