"""Which bound holds a new score with a stated probability, whatever its distribution.

Split conformal prediction: if n held-out scores and the new one are exchangeable, the new
one is at most the k-th smallest with probability k/(n+1) (Vovk, Gammerman and Shafer,
Algorithmic Learning in a Random World, 2005). Drift along a trajectory voids the premise.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# (n + 1) * level may miss an integer by rounding only.
_ROUNDING = 1e-9


class ConformalBound(NamedTuple):
    """A bound and how often it holds.

    Attributes:
        value: In the unit of the scores.
        level: Probability ``rank / (n + 1)`` that a new exchangeable score is not above it.
    """

    value: float
    level: float


def scores_needed(level: float) -> int:
    """Smallest number of scores for which a finite bound of ``level`` exists."""
    return math.ceil(level / (1.0 - level) - _ROUNDING)


def conformal_bound(scores: FloatArray, *, level: float) -> ConformalBound:
    """Take the order statistic of rank ``ceil((n + 1) level)``.

    With too few scores for the level the largest one is taken; the level of the result
    says what it is worth.

    Args:
        scores: Held-out scores, shape ``(n,)``, n >= 1; infinity is a score like others.
        level: Wanted probability, between 0 and 1.

    Returns:
        The bound with the level it attains.

    Raises:
        ValueError: If there is no score or one is not a number.
    """
    n = scores.size
    if n == 0 or np.any(np.isnan(scores)):
        raise ValueError(f"scores must be numbers and at least one, got {n} values")
    rank = min(math.ceil((n + 1) * level - _ROUNDING), n)
    value = np.partition(scores.reshape(-1), rank - 1)[rank - 1]
    return ConformalBound(value=float(value), level=rank / (n + 1))
