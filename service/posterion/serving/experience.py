"""What finished batches have taught about those to come: their time, and the device's memory.

Kept for the life of the process, by kind: batches whose cost follows one law, such as those
of one architecture and engine.
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from posterion.errors import PosterionError
from posterion.serving.bounds import AdaptiveBounds
from posterion.serving.cost_model import CostModel
from posterion.serving.formation import NOTHING, Batch, Cost, Room
from posterion.serving.isolation import Outcome
from posterion.serving.work import BatcherLimits

FIXED_COSTS_PER_BATCH = 4.0
"""A batch may take so many times its fixed cost, whatever the operator's bound: below that,
the device would be busy with little else."""

BULK_SHARE = 0.25
"""Fraction of a batch's time that bulk structures may fill: interactive ones wait for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    time: CostModel
    memory: AdaptiveBounds


class Experience:
    """Time and memory of batches, by kind. Belongs to one device and one event loop."""

    def __init__(self, limits: BatcherLimits) -> None:
        """Know nothing yet.

        Args:
            limits: What the operator allows.
        """
        self._limits = limits
        self._known: dict[Hashable, _Known] = {}

    def room(self, kind: Hashable) -> Room:
        """How far the next batch of a kind may grow."""
        known = self._of(kind)
        worthwhile_s = FIXED_COSTS_PER_BATCH * known.time.fixed_s
        max_s = self._limits.max_batch_seconds
        return Room(
            memory=known.memory.current,
            seconds=known.time.seconds,
            max_seconds=max(max_s, worthwhile_s),
            max_bulk_seconds=max(BULK_SHARE * max_s, worthwhile_s),
        )

    def clearing_s(self, kind: Hashable, cost: Cost) -> float:
        """Predicted time of as many batches as it takes, seconds.

        Args:
            kind: Of the structures.
            cost: Sum over the structures that wait.
        """
        room, fixed_s = self.room(kind), self._of(kind).time.fixed_s
        added_s = room.seconds(cost) - fixed_s
        n_batches = max(
            1.0,
            cost.edges / room.memory.edges,
            cost.atoms / room.memory.atoms,
            added_s / max(room.max_seconds - fixed_s, 1e-9),
        )
        return math.ceil(n_batches) * fixed_s + added_s

    def learn(
        self, kind: Hashable, batch: Batch[Any, Any, Any], outcome: Outcome[Any], elapsed_s: float
    ) -> None:
        """Learn the time of a batch without failures, and what does not fit the memory.

        Args:
            kind: Of the batch.
            batch: What was evaluated.
            outcome: What became of it.
            elapsed_s: Time it took.
        """
        known = self._of(kind)
        for part in outcome.too_large:
            known.memory.shrink(sum((batch.members[place].cost for place in part), NOTHING))
        if not outcome.too_large:
            known.memory.succeed()
        failed = any(isinstance(each, PosterionError) for each in outcome.results)
        if not failed and outcome.n_splits == 0:
            known.time.learn(batch.cost, elapsed_s)

    def _of(self, kind: Hashable) -> _Known:
        if kind not in self._known:
            memory = AdaptiveBounds(self._limits.bounds)
            self._known[kind] = _Known(time=CostModel(), memory=memory)
        return self._known[kind]
