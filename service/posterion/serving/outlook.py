"""When the structures that are present will be answered, and who is better refused at once.

One estimate for all: the time that the batch on the device still needs, and what finished
batches say about those that wait.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from posterion.errors import DeadlineExceeded
from posterion.serving.admission import retry_after_s
from posterion.serving.experience import Experience
from posterion.serving.formation import NOTHING, Batch, Cost
from posterion.serving.line import Line
from posterion.structures.evaluation import Priority

GroupT = TypeVar("GroupT", bound=Hashable)

EDGE_SAMPLES_PER_STALL = 500_000
"""Edges times samples that one stall timeout allows for; a slow core does twice as many."""

STALL_FACTOR = 5.0
"""A batch may take so many times as long as it was expected to, where that is more."""

REFUSALS_PER_TRIAL = 32
"""Of requests whose deadline seems out of reach of a busy device, one in so many is tried
nevertheless: an estimate that only refuses would never be corrected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    cost: Cost
    n_structures: int
    ends: float
    expected_s: float


class Outlook(Generic[GroupT]):
    """What is on the device, what waits for it, and how long both will take."""

    def __init__(
        self,
        line: Line[GroupT, Any, Any],
        experience: Experience,
        kind_of: Callable[[GroupT], Hashable],
        clock: Callable[[], float],
    ) -> None:
        """Look at a line in front of an idle device.

        Args:
            line: Who waits.
            experience: What finished batches have taught.
            kind_of: Names what the cost of a group's batches depends on.
            clock: Seconds on a monotonic clock.
        """
        self._line = line
        self._experience = experience
        self._kind_of = kind_of
        self._clock = clock
        self._running: _Running | None = None
        self._last_progress = clock()
        self._n_refusals = 0

    @property
    def busy(self) -> bool:
        """Whether a batch is on the device."""
        return self._running is not None

    def progress(self) -> None:
        """Note that nothing was left undone until now."""
        self._last_progress = self._clock()

    def begin(self, batch: Batch[GroupT, Any, Any]) -> None:
        """Note a batch that goes to the device."""
        self.progress()
        expected_s = batch.room.seconds(batch.cost)
        self._running = _Running(
            cost=batch.cost,
            n_structures=len(batch.members),
            ends=self._last_progress + expected_s,
            expected_s=expected_s,
        )

    def end(self) -> None:
        """Note that the device is free."""
        self._running = None
        self.progress()

    def stalled(self, timeout_s: float) -> bool:
        """Whether there was no progress for longer than the batch on the device explains.

        Args:
            timeout_s: What an ordinary batch is allowed.
        """
        allowed_s = timeout_s
        if self._running is not None:
            n_timeouts = self._running.cost.edges / EDGE_SAMPLES_PER_STALL
            expected_s = self._running.expected_s
            allowed_s = max(timeout_s, timeout_s * n_timeouts, STALL_FACTOR * expected_s)
        return self._clock() - self._last_progress >= allowed_s

    def clearing_s(self, n_present: int) -> float:
        """Predicted seconds until everybody is answered.

        Args:
            n_present: Structures admitted, those in preparation included: nobody knows yet
                what these cost, so they count as much as the others.
        """
        n_known = len(self._line) + (0 if self._running is None else self._running.n_structures)
        if not n_known:
            return 0.0
        return self._seconds(self._line.costs()) * max(1.0, n_present / n_known)

    def too_late(
        self, group: GroupT, costs: Sequence[Cost], *, deadline: float, priority: Priority
    ) -> bool:
        """Refuse a request that would be answered after its deadline.

        Where nothing is busy and nothing waits, none is: to try it costs nobody anything.

        Args:
            group: Of the request.
            costs: Of each of its structures.
            deadline: Clock reading after which no answer is wanted.
            priority: Of the request.

        Returns:
            Whether it would, and is let in nevertheless, to see.

        Raises:
            DeadlineExceeded: If it would.
        """
        before = self._line.costs_before(len(costs), priority)
        before[group] = sum(costs, before.get(group, NOTHING))
        needed_s = self._seconds(before)
        if self._clock() + needed_s <= deadline:
            return False
        if not self.busy and not self._line:
            return True
        self._n_refusals += 1
        if self._n_refusals % REFUSALS_PER_TRIAL == 0:
            return True
        raise DeadlineExceeded(
            f"the answer is expected in {needed_s:.3g} s, after the deadline",
            retry_after_s=retry_after_s(self.clearing_s(len(self._line))),
        )

    def _seconds(self, waiting: Mapping[GroupT, Cost]) -> float:
        """Predicted seconds until the batch on the device has ended, and then all of these."""
        running_s = 0.0 if self._running is None else max(0.0, self._running.ends - self._clock())
        kinds: dict[Hashable, Cost] = {}
        for group, cost in waiting.items():
            kind = self._kind_of(group)
            kinds[kind] = kinds.get(kind, NOTHING) + cost
        return running_s + sum(
            self._experience.clearing_s(kind, cost) for kind, cost in kinds.items()
        )
