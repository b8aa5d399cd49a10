"""Ranking scores agree with counting by hand, and weights with repeated frames."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from posterion.uncertainty.ranking import Detection, RankCorrelation

ROUNDING = 1e-12
N_FRAMES, N_PER_FRAME = 12, 5

FloatArray = NDArray[np.float64]


@pytest.fixture
def frame() -> NDArray[np.int64]:
    return np.repeat(np.arange(N_FRAMES), N_PER_FRAME)


@pytest.fixture
def scores() -> FloatArray:
    """With many ties: integers up to nine."""
    return np.random.default_rng(1).integers(10, size=N_FRAMES * N_PER_FRAME).astype(float)


@pytest.fixture
def positive(scores: FloatArray) -> NDArray[np.bool_]:
    noise = np.random.default_rng(2).normal(scale=4.0, size=scores.size)
    return scores + noise > 6.0


def area_by_pairs(scores: FloatArray, positive: NDArray[np.bool_]) -> float:
    """How often a positive has the larger score, counted pair by pair."""
    difference = scores[positive][:, None] - scores[~positive][None, :]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def precision_by_thresholds(scores: FloatArray, positive: NDArray[np.bool_]) -> float:
    """Precision at the threshold of each positive, averaged over the positives."""
    precisions = [positive[scores >= threshold].mean() for threshold in scores[positive]]
    return float(np.mean(precisions))


def test_areas_of_a_list_worked_out_by_hand() -> None:
    scores = np.array([4.0, 3.0, 2.0, 1.0])
    detection = Detection(scores, np.array([True, False, True, False]), np.arange(4))
    # Of four pairs one is wrong; precisions at the positives are 1/1 and 2/3.
    assert detection.roc_area(np.ones(4)) == pytest.approx(0.75, abs=ROUNDING)
    assert detection.average_precision(np.ones(4)) == pytest.approx((1 + 2 / 3) / 2, abs=ROUNDING)
    assert detection.positive_fraction(np.ones(4)) == 0.5


@pytest.mark.parametrize("repeated", [False, True], ids=["as they are", "resampled"])
@pytest.mark.parametrize("name", ["roc_area", "average_precision"])
def test_areas_with_ties_are_those_counted_one_by_one(
    name: str,
    repeated: bool,
    scores: FloatArray,
    positive: NDArray[np.bool_],
    frame: NDArray[np.int64],
) -> None:
    by_hand = {"roc_area": area_by_pairs, "average_precision": precision_by_thresholds}[name]
    counts = np.random.default_rng(3).integers(4, size=N_FRAMES) if repeated else np.ones(N_FRAMES)
    each = counts.astype(int)[frame]
    area: Callable[[FloatArray], float] = getattr(Detection(scores, positive, frame), name)
    expected = by_hand(np.repeat(scores, each), np.repeat(positive, each))
    assert area(counts.astype(float)) == pytest.approx(expected, abs=ROUNDING)


def test_the_area_is_that_below_the_curve(
    scores: FloatArray, positive: NDArray[np.bool_], frame: NDArray[np.int64]
) -> None:
    detection = Detection(scores, positive, frame)
    false, true = detection.roc_curve()
    assert (false[0], true[0], false[-1], true[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert np.trapezoid(true, false) == pytest.approx(
        detection.roc_area(np.ones(N_FRAMES)), abs=ROUNDING
    )


def test_a_constant_score_has_no_skill(
    positive: NDArray[np.bool_], frame: NDArray[np.int64]
) -> None:
    detection = Detection(np.zeros(positive.size), positive, frame)
    assert detection.roc_area(np.ones(N_FRAMES)) == pytest.approx(0.5, abs=ROUNDING)
    assert detection.average_precision(np.ones(N_FRAMES)) == pytest.approx(
        positive.mean(), abs=ROUNDING
    )


def test_the_area_sees_only_the_order(
    scores: FloatArray, positive: NDArray[np.bool_], frame: NDArray[np.int64]
) -> None:
    here, there = (Detection(values, positive, frame) for values in (scores, np.exp(scores)))
    assert here.roc_area(np.ones(N_FRAMES)) == there.roc_area(np.ones(N_FRAMES))
    turned = Detection(-scores, positive, frame)
    assert turned.roc_area(np.ones(N_FRAMES)) == pytest.approx(
        1.0 - here.roc_area(np.ones(N_FRAMES)), abs=ROUNDING
    )


def test_areas_of_a_missing_class_are_undefined(
    scores: FloatArray, frame: NDArray[np.int64]
) -> None:
    nothing = Detection(scores, np.zeros(scores.size, dtype=bool), frame)
    everything = Detection(scores, np.ones(scores.size, dtype=bool), frame)
    weights = np.ones(N_FRAMES)
    assert np.isnan(nothing.roc_area(weights))
    assert np.isnan(nothing.average_precision(weights))
    assert np.isnan(everything.roc_area(weights))
    assert everything.average_precision(weights) == 1.0


@pytest.mark.parametrize("repeated", [False, True], ids=["as they are", "resampled"])
def test_rank_correlation_is_spearmans(
    repeated: bool, scores: FloatArray, frame: NDArray[np.int64]
) -> None:
    other = scores + np.random.default_rng(4).normal(scale=5.0, size=scores.size)
    counts = np.random.default_rng(5).integers(4, size=N_FRAMES) if repeated else np.ones(N_FRAMES)
    each = counts.astype(int)[frame]
    expected = spearmanr(np.repeat(scores, each), np.repeat(other, each)).statistic
    rho = RankCorrelation(scores, other, frame)(counts.astype(float))
    assert rho == pytest.approx(expected, abs=ROUNDING)


def test_rank_correlation_with_a_constant_is_undefined(
    scores: FloatArray, frame: NDArray[np.int64]
) -> None:
    assert np.isnan(RankCorrelation(scores, np.ones(scores.size), frame)(np.ones(N_FRAMES)))
