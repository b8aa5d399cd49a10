"""What goes into the batcher and what comes out of it."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from posterion.errors import PosterionError
from posterion.serving.formation import Batch, Cost
from posterion.serving.isolation import Outcome

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
GroupT_contra = TypeVar("GroupT_contra", bound=Hashable, contravariant=True)
ItemT_contra = TypeVar("ItemT_contra", contravariant=True)
ResultT_co = TypeVar("ResultT_co", covariant=True)


class Evaluator(Protocol[GroupT_contra, ItemT_contra, ResultT_co]):
    """The device: blocks in its own thread until the batch is evaluated."""

    def __call__(
        self, group: GroupT_contra, items: Sequence[ItemT_contra], /
    ) -> Sequence[ResultT_co | PosterionError]:
        """Evaluate the items together.

        Args:
            group: What the items share.
            items: At least one item.

        Returns:
            One result or error per item, in order.

        Raises:
            MemoryError: If the items do not fit the device together.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Work(Generic[ItemT]):
    """One prepared structure of a request.

    Attributes:
        item: What the evaluator needs.
        cost: What it takes on the device.
    """

    item: ItemT
    cost: Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """What one batch was, for metrics.

    Attributes:
        n_structures: Structures evaluated.
        cost: Their edges and atoms, times samples.
        fill: Fraction of the tighter bound, on edges or on time, that was used; above 1 for
            one large structure.
        queue_s: How long each structure had waited, in seconds.
        evaluate_s: How long the device took.
        predicted_s: How long it had been expected to take.
        n_splits: How often the batch was halved to isolate a failure.
        n_out_of_memory: How often it did not fit the device.
        error_codes: Code of each structure that failed.
    """

    n_structures: int
    cost: Cost
    fill: float
    queue_s: tuple[float, ...]
    evaluate_s: float
    predicted_s: float
    n_splits: int
    n_out_of_memory: int
    error_codes: tuple[str, ...]

    @classmethod
    def of(
        cls, batch: Batch[Any, Any, Any], outcome: Outcome[Any], *, started: float, elapsed_s: float
    ) -> "BatchRecord":
        """Describe a batch.

        Args:
            batch: What was evaluated.
            outcome: What became of it.
            started: Clock reading at which it went to the device.
            elapsed_s: Time that it took.
        """
        room, predicted_s = batch.room, batch.room.seconds(batch.cost)
        errors = (each for each in outcome.results if isinstance(each, PosterionError))
        return cls(
            n_structures=len(batch.members),
            cost=batch.cost,
            fill=max(batch.cost.edges / room.memory.edges, predicted_s / room.max_seconds),
            queue_s=tuple(started - each.arrived for each in batch.members),
            evaluate_s=elapsed_s,
            predicted_s=predicted_s,
            n_splits=outcome.n_splits,
            n_out_of_memory=len(outcome.too_large),
            error_codes=tuple(each.code for each in errors),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BatcherLimits:
    """How much may wait and how long a batch may take.

    Attributes:
        bounds: What one batch may cost; halved when the device runs out of memory.
        max_structures: Structures admitted at once, from preparation to answer.
        max_batch_seconds: Predicted time up to which a batch grows, seconds.
        stall_timeout_s: A device that made no progress for so long is declared stuck; a
            costly batch is given more.
    """

    bounds: Cost
    max_structures: int = 4096
    max_batch_seconds: float = 0.25
    stall_timeout_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers(Generic[ResultT]):
    """What became of the structures of one request.

    Attributes:
        results: One result or error per structure, in order.
        queue_s: Longest time one of them waited for the device.
        evaluate_s: Time on the device of the slowest batch one of them was in.
    """

    results: tuple[ResultT | PosterionError, ...]
    queue_s: float
    evaluate_s: float
