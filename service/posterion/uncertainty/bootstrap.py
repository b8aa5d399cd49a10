"""How far a score could be off because other frames might have been drawn.

Force components of one frame depend on each other, so whole frames are resampled (the
cluster bootstrap; Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8
and 13). Frames of one trajectory depend on each other too: there the intervals are too
narrow.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

INTERVAL_LEVEL: Final = 0.95

_LEAST_DEFINED: Final = 0.5
"""Fraction of the resamples in which a score must be defined to have an interval."""


class Statistic(Protocol):
    """A score as a function of how often each frame counts."""

    def __call__(self, weights: FloatArray, /) -> float:
        """Value for weights of shape ``(n_frames,)``; NaN where it is undefined."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A score with its interval.

    Attributes:
        value: On the frames as they are; None where the score is undefined.
        low: Lower end of the 95 % interval; None without one.
        high: Upper end.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


class WeightedMean:
    """Mean over the values of all frames, each frame counting as often as its weight."""

    def __init__(
        self,
        values: FloatArray,
        frame: IntArray,
        *,
        n_frames: int,
        transform: Callable[[float], float] = float,
    ) -> None:
        """Sum up each frame.

        Args:
            values: Shape ``(n,)``.
            frame: Frame that each value belongs to, shape ``(n,)``.
            n_frames: Number of frames.
            transform: Applied to the mean, e.g. a square root.
        """
        self._sums = np.bincount(frame, weights=values, minlength=n_frames)
        self._counts = np.bincount(frame, minlength=n_frames)
        self._transform = transform

    def __call__(self, weights: FloatArray, /) -> float:
        """See `Statistic`; NaN without any value."""
        count = float(weights @ self._counts)
        return self._transform(float(weights @ self._sums) / count) if count > 0.0 else float("nan")


def bootstrap(
    statistics: Mapping[str, Statistic],
    *,
    n_frames: Sequence[int],
    n_resamples: int,
    seed: int,
) -> dict[str, Estimate]:
    """Estimate scores of the same frames, with percentile intervals.

    Every score sees the same resamples, so differences between scores are not blurred.

    Args:
        statistics: Scores by name.
        n_frames: Frames of each group. Groups are resampled apart: with known and unknown
            structures, both stay represented. Weights run over the groups in order.
        n_resamples: Number of resamples; 0 = no intervals.
        seed: Of the resamples.

    Returns:
        One estimate per name.
    """
    rng = np.random.default_rng(seed)
    observed = np.ones(sum(n_frames))
    replicates: dict[str, list[float]] = {name: [] for name in statistics}
    for _ in range(n_resamples):
        weights = np.concatenate([_resampled(rng, n) for n in n_frames])
        for name, statistic in statistics.items():
            replicates[name].append(statistic(weights))
    return {
        name: _estimate(statistic(observed), np.array(replicates[name]))
        for name, statistic in statistics.items()
    }


def _resampled(rng: np.random.Generator, n: int) -> FloatArray:
    """How often each of ``n`` frames is drawn when ``n`` are drawn with replacement."""
    return np.bincount(rng.integers(n, size=n), minlength=n).astype(np.float64)


def _estimate(value: float, replicates: FloatArray) -> Estimate:
    if not np.isfinite(value):
        return Estimate(value=None)
    defined = replicates[np.isfinite(replicates)]
    if replicates.size == 0 or defined.size < _LEAST_DEFINED * replicates.size:
        return Estimate(value=value)
    tail = 0.5 * (1.0 - INTERVAL_LEVEL)
    low, high = np.quantile(defined, [tail, 1.0 - tail])
    return Estimate(value=value, low=float(low), high=float(high))
