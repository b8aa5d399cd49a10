"""Which structure of a batch is to blame when its evaluation raises.

A batch that raises is halved until the failing structures stand alone; they get their own
error and all others their result. One bad structure among n costs about 2 log2(n) more
evaluations.
"""

import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from posterion.errors import EvaluationFailed, PosterionError, StructureTooLarge

GroupT = TypeVar("GroupT", bound=Hashable)
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[ResultT]):
    """What became of a batch.

    Attributes:
        results: One result or error per item, in order.
        n_splits: How often a part was halved.
        too_large: Positions of the items of each part that did not fit the device.
    """

    results: tuple[ResultT | PosterionError, ...]
    n_splits: int = 0
    too_large: tuple[range, ...] = ()


def evaluate_isolated(
    evaluate: Callable[[GroupT, Sequence[ItemT]], Sequence[ResultT | PosterionError]],
    group: GroupT,
    items: Sequence[ItemT],
    *,
    first: int = 0,
) -> Outcome[ResultT]:
    """Evaluate the items together, or in ever smaller parts where that fails.

    Args:
        evaluate: The device.
        group: What the items share.
        items: At least one item.
        first: Position of the first of them in the batch.

    Returns:
        One result or error per item: EvaluationFailed for an item that makes the device
        raise, StructureTooLarge for one that does not fit its memory alone.
    """
    outcome = _attempt(evaluate, group, items)
    # The error is gone by now, and with it what its traceback kept in the device's memory.
    if isinstance(outcome, tuple):
        return Outcome(results=outcome)
    does_not_fit = isinstance(outcome, StructureTooLarge)
    too_large = (range(first, first + len(items)),) if does_not_fit else ()
    if len(items) == 1:
        return Outcome(results=(outcome,), too_large=too_large)
    middle = len(items) // 2
    left = evaluate_isolated(evaluate, group, items[:middle], first=first)
    right = evaluate_isolated(evaluate, group, items[middle:], first=first + middle)
    return Outcome(
        results=left.results + right.results,
        n_splits=1 + left.n_splits + right.n_splits,
        too_large=too_large + left.too_large + right.too_large,
    )


def _attempt(
    evaluate: Callable[[GroupT, Sequence[ItemT]], Sequence[ResultT | PosterionError]],
    group: GroupT,
    items: Sequence[ItemT],
) -> tuple[ResultT | PosterionError, ...] | PosterionError:
    """Evaluate the items together: one result each, or what went wrong with all of them."""
    try:
        results = tuple(evaluate(group, items))
    except MemoryError:
        return StructureTooLarge("the structure does not fit the memory of the device")
    except PosterionError as error:
        return type(error)(error.detail, faults=error.faults, retry_after_s=error.retry_after_s)
    except Exception as error:
        if len(items) == 1:
            logger.exception("a structure made the evaluation raise")
        return EvaluationFailed(f"the model raised {type(error).__name__}")
    if len(results) != len(items):
        return EvaluationFailed(f"the model answered {len(results)} of {len(items)} structures")
    return results
