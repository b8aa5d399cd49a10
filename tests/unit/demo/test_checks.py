"""The demo passes when all is well, and each thing that can be wrong fails its own check."""

import math
from dataclasses import replace

import pytest

from posterion.demo.answers import Answers
from posterion.demo.checks import MAX_DRIFT_MEV_PER_ATOM, check
from posterion.demo.dynamics import Trajectory
from posterion_client import EvaluationFailed, PosterionError, Prediction
from tests.unit.demo.conftest import prediction

CHECKS = ("rest", "300 K", "stretched", "unknown element", "drifts")


def failed(answers: Answers, trajectory: Trajectory) -> list[str]:
    """Names of the failed checks."""
    return [each.name for each in check(answers, trajectory) if not each.passed]


def spoilt(answers: Answers, key: str, outcome: Prediction | PosterionError) -> Answers:
    """The same with another outcome for one structure."""
    items = tuple(
        replace(each, outcome=outcome) if each.subject.key == key else each
        for each in answers.items
    )
    return replace(answers, items=items)


def test_sound_results_pass(answers: Answers, trajectory: Trajectory) -> None:
    checks = check(answers, trajectory)
    assert all(each.passed for each in checks)
    for each, word in zip(checks, CHECKS, strict=True):
        assert word in each.name


@pytest.mark.parametrize(("key", "word"), [("rest", "rest"), ("thermal", "300 K")])
def test_a_flag_on_a_sound_structure_fails_and_shows_its_evidence(
    answers: Answers, trajectory: Trajectory, key: str, word: str
) -> None:
    bad = spoilt(answers, key, prediction(answers.of(key).subject, 0.3))
    (name,) = failed(bad, trajectory)
    assert word in name
    seen = next(each.seen for each in check(bad, trajectory) if not each.passed)
    assert "force-epistemic-high (candidate): 0.3 > 0.1 eV/angstrom" in seen


def test_a_stretched_bond_without_a_flag_fails(answers: Answers, trajectory: Trajectory) -> None:
    bad = spoilt(answers, "stretched", prediction(answers.of("stretched").subject, 0.05))
    (name,) = failed(bad, trajectory)
    assert "stretched" in name


def test_an_answer_for_an_unknown_element_fails(answers: Answers, trajectory: Trajectory) -> None:
    subject = answers.of("unknown_element").subject
    (name,) = failed(spoilt(answers, "unknown_element", prediction(subject, 0.05)), trajectory)
    assert "unknown element" in name


def test_another_error_for_an_unknown_element_fails(
    answers: Answers, trajectory: Trajectory
) -> None:
    bad = spoilt(answers, "unknown_element", EvaluationFailed("out of memory"))
    (name,) = failed(bad, trajectory)
    assert "unknown element" in name
    seen = next(each.seen for each in check(bad, trajectory) if not each.passed)
    assert "evaluation-failed: out of memory" in seen


def test_a_neighbour_that_errs_too_fails_both_its_checks(
    answers: Answers, trajectory: Trajectory
) -> None:
    names = failed(spoilt(answers, "rest", EvaluationFailed("no")), trajectory)
    assert len(names) == 2
    assert "rest" in names[0]
    assert "neighbours" in names[1]


def test_drift_is_the_largest_change_of_the_total_energy(trajectory: Trajectory) -> None:
    assert trajectory.drift_mev_per_atom == pytest.approx(0.1)
    assert trajectory.call_ms == pytest.approx(21.0), "the first call warms up"


@pytest.mark.parametrize("kinetic", [0.35 + 9e-3 * MAX_DRIFT_MEV_PER_ATOM + 1e-6, math.nan])
def test_a_drifting_or_broken_run_fails(
    answers: Answers, trajectory: Trajectory, kinetic: float
) -> None:
    first, *others, last = trajectory.moments
    last = replace(last, potential=first.potential, kinetic=kinetic)
    bad = replace(trajectory, moments=(first, *others, last))
    (name,) = failed(answers, bad)
    assert "drifts" in name
