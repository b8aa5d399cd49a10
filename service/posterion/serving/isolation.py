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
        n_out_of_memory: How often a part did not fit the device.
    """

    results: tuple[ResultT | PosterionError, ...]
    n_splits: int = 0
    n_out_of_memory: int = 0


def evaluate_isolated(
    evaluate: Callable[[GroupT, Sequence[ItemT]], Sequence[ResultT | PosterionError]],
    group: GroupT,
    items: Sequence[ItemT],
) -> Outcome[ResultT]:
    """Evaluate the items together, or in ever smaller parts where that fails.

    Args:
        evaluate: The device.
        group: What the items share.
        items: At least one item.

    Returns:
        One result or error per item: EvaluationFailed for an item that makes the device
        raise, StructureTooLarge for one that does not fit its memory alone.
    """
    try:
        results = tuple(evaluate(group, items))
    except MemoryError:
        return _divide(evaluate, group, items, StructureTooLarge(_TOO_LARGE), n_out_of_memory=1)
    except PosterionError as error:
        return _divide(evaluate, group, items, error)
    except Exception as error:
        if len(items) == 1:
            logger.exception("a structure made the evaluation raise")
        failure = EvaluationFailed(f"the model raised {type(error).__name__}")
        return _divide(evaluate, group, items, failure)
    if len(results) != len(items):
        failure = EvaluationFailed(f"the model answered {len(results)} of {len(items)} structures")
        return _divide(evaluate, group, items, failure)
    return Outcome(results=results)


_TOO_LARGE = "the structure does not fit the memory of the device"


def _divide(
    evaluate: Callable[[GroupT, Sequence[ItemT]], Sequence[ResultT | PosterionError]],
    group: GroupT,
    items: Sequence[ItemT],
    error: PosterionError,
    *,
    n_out_of_memory: int = 0,
) -> Outcome[ResultT]:
    """Blame a single item, or evaluate both halves on their own."""
    if len(items) == 1:
        return Outcome(results=(error,), n_out_of_memory=n_out_of_memory)
    middle = len(items) // 2
    first = evaluate_isolated(evaluate, group, items[:middle])
    second = evaluate_isolated(evaluate, group, items[middle:])
    return Outcome(
        results=first.results + second.results,
        n_splits=1 + first.n_splits + second.n_splits,
        n_out_of_memory=n_out_of_memory + first.n_out_of_memory + second.n_out_of_memory,
    )
