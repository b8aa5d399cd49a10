"""A conformal bound holds a new score as often as it says, for any distribution."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posterion.uncertainty.conformal import conformal_bound, scores_needed


def test_the_rank_counts_the_new_score_too() -> None:
    scores = np.arange(1.0, 20.0)  # n = 19: rank ceil(20 x 0.9) = 18
    assert conformal_bound(scores, level=0.90) == (18.0, 0.9)


def test_a_level_out_of_reach_is_stated_as_reached() -> None:
    bound = conformal_bound(np.arange(1.0, 50.0), level=0.99)
    assert bound.value == 49.0
    assert bound.level == 49 / 50


@pytest.mark.parametrize(("level", "needed"), [(0.9, 9), (0.95, 19), (0.99, 99), (0.5, 1)])
def test_the_scores_needed_are_just_enough(level: float, needed: int) -> None:
    assert scores_needed(level) == needed
    assert conformal_bound(np.arange(float(needed)), level=level).level >= level - 1e-12


@given(st.integers(1, 300), st.floats(0.05, 0.99))
def test_the_level_is_attained_whenever_there_are_enough(n: int, level: float) -> None:
    bound = conformal_bound(np.arange(float(n)), level=level)
    assert bound.level >= level - 1e-9 or n < scores_needed(level)
    assert bound.level - level <= 1.0 / (n + 1) + 1e-9


def test_coverage_of_new_scores_is_the_level_on_average() -> None:
    rng = np.random.default_rng(0)
    n, n_repeats = 39, 4000
    inside = 0
    for _ in range(n_repeats):
        scores = rng.standard_cauchy(n + 1)
        inside += scores[-1] <= conformal_bound(scores[:-1], level=0.9).value
    # Five standard errors of a fraction of 0.9: 5 sqrt(0.09 / 4000) = 0.024.
    assert inside / n_repeats == pytest.approx(0.9, abs=0.024)


def test_infinite_scores_are_the_largest() -> None:
    scores = np.concatenate([np.arange(1.0, 19.0), [np.inf]])
    assert conformal_bound(scores, level=0.90).value == 18.0
    assert conformal_bound(scores, level=0.95).value == np.inf


@pytest.mark.parametrize("scores", [np.zeros(0), np.array([1.0, np.nan])])
def test_scores_must_be_numbers_and_present(
    scores: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> None:
    with pytest.raises(ValueError, match="numbers and at least one"):
        conformal_bound(scores, level=0.9)
