"""Does a larger uncertainty mean a larger error, or a stranger structure?

Each class sorts its values once; then every reweighting of the frames, as a bootstrap asks
for thousands of, costs one pass. A weight is how often a frame counts: with integers the
result is exactly that of the sample in which the frames are repeated.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class RocCurve(NamedTuple):
    """Rates of a detector by falling threshold, from (0, 0) to (1, 1).

    Attributes:
        false_positive: Fraction of the negatives above the threshold, shape ``(n,)``.
        true_positive: Fraction of the positives above the threshold, shape ``(n,)``.
    """

    false_positive: FloatArray
    true_positive: FloatArray


class Detection:
    """A score that should be larger for positives than for negatives."""

    def __init__(self, scores: FloatArray, positive: BoolArray, frame: IntArray) -> None:
        """Sort the scores.

        Args:
            scores: Shape ``(n,)``, finite.
            positive: What should be detected, shape ``(n,)``.
            frame: Frame that each value belongs to, shape ``(n,)``.
        """
        order = np.argsort(scores, kind="stable")
        self._positive = positive[order]
        self._frame = frame[order]
        self._last_of_tie = np.flatnonzero(np.diff(scores[order], append=np.inf) > 0.0)

    def roc_area(self, weights: FloatArray) -> float:
        """Area under the ROC curve: P(score of a positive > of a negative), ties half.

        The Mann-Whitney statistic (Hanley and McNeil, Radiology 143, 29, 1982).

        Args:
            weights: Of the frames, shape ``(n_frames,)``.

        Returns:
            Between 0 and 1, 0.5 without skill; NaN if one of the classes is empty.
        """
        positives, negatives = self._counts(weights)
        total = positives[-1] * negatives[-1]
        if total == 0.0:
            return float("nan")
        here = np.diff(positives, prepend=0.0)
        below = 0.5 * (negatives + np.concatenate(([0.0], negatives[:-1])))
        return float(here @ below / total)

    def average_precision(self, weights: FloatArray) -> float:
        """Area under the precision-recall curve: precision averaged over the positives.

        ``sum_k (recall_k - recall_{k-1}) precision_k`` over falling thresholds, without
        interpolation, which would flatter (Davis and Goadrich, ICML 2006). The value
        without skill is the fraction of positives.

        Args:
            weights: Of the frames, shape ``(n_frames,)``.

        Returns:
            Between 0 and 1; NaN if there is no positive.
        """
        positives, negatives = self._counts(weights)
        if positives[-1] == 0.0:
            return float("nan")
        found = positives[-1] - np.concatenate(([0.0], positives[:-1]))
        false = negatives[-1] - np.concatenate(([0.0], negatives[:-1]))
        here = np.diff(positives, prepend=0.0)
        # Where nothing is found so far nothing is added either.
        precision = np.divide(found, found + false, out=np.zeros_like(found), where=found > 0.0)
        return float(here @ precision / positives[-1])

    def positive_fraction(self, weights: FloatArray) -> float:
        """Fraction of positives: the average precision of a detector without skill."""
        each = weights[self._frame]
        return float(each[self._positive].sum() / each.sum())

    def roc_curve(self) -> RocCurve:
        """The curve of the values as they are; both classes must be there."""
        positives, negatives = self._counts(np.ones(int(self._frame.max()) + 1))
        true = 1.0 - np.concatenate(([0.0], positives)) / positives[-1]
        false = 1.0 - np.concatenate(([0.0], negatives)) / negatives[-1]
        return RocCurve(false_positive=false[::-1], true_positive=true[::-1])

    def _counts(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Weight of positives and of negatives up to each distinct score."""
        each = weights[self._frame]
        positives = np.cumsum(each * self._positive)[self._last_of_tie]
        negatives = np.cumsum(each * ~self._positive)[self._last_of_tie]
        return positives, negatives


class RankCorrelation:
    """Spearman's rho of two quantities: Pearson's correlation of their midranks."""

    def __init__(self, first: FloatArray, second: FloatArray, frame: IntArray) -> None:
        """Rank both quantities.

        Args:
            first: Shape ``(n,)``.
            second: Shape ``(n,)``.
            frame: Frame that each value belongs to, shape ``(n,)``.
        """
        self._frame = frame
        self._levels = [np.unique(values, return_inverse=True)[1] for values in (first, second)]

    def __call__(self, weights: FloatArray) -> float:
        """Correlation with weighted frames; NaN if one of the quantities is constant.

        Args:
            weights: Shape ``(n_frames,)``.
        """
        each = weights[self._frame]
        first, second = (_centred_midranks(level, each) for level in self._levels)
        norm = np.sqrt((each @ first**2) * (each @ second**2))
        return float(each @ (first * second) / norm) if norm > 0.0 else float("nan")


def _centred_midranks(level: IntArray, weights: FloatArray) -> FloatArray:
    """Midranks minus their weighted mean, which is half the total weight (and a half)."""
    at_level = np.bincount(level, weights=weights)
    middle = np.cumsum(at_level) - 0.5 * at_level - 0.5 * at_level.sum()
    midranks: FloatArray = middle[level]
    return midranks
