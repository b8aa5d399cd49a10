"""How structures of concurrent requests share the device, a batch at a time.

The batch is formed at the moment the device becomes free, out of everything that waits by
then. There is no waiting time to tune: an idle device starts at once, a busy one lets the
next batch grow. What a device is stays outside; this module sees one blocking function.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar

from posterion.errors import DeadlineExceeded, Draining, InternalError, PosterionError
from posterion.serving.admission import DRAINING_RETRY_S, Admission
from posterion.serving.experience import Experience
from posterion.serving.formation import Batch, Room, Waiting
from posterion.serving.isolation import Outcome, evaluate_isolated
from posterion.serving.line import FormationError, Line
from posterion.serving.outlook import Outlook
from posterion.serving.work import Answers, BatcherLimits, BatchRecord, Evaluator, Work
from posterion.structures.evaluation import Priority

GroupT = TypeVar("GroupT", bound=Hashable)
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

REVIEW_AFTER_S: Final = 1e-3
"""When a batch is learnt from and counted: after its answers have left and the device's thread,
which needs the interpreter to begin, is in the middle of the next one."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done(Generic[ResultT]):
    result: ResultT | PosterionError
    queue_s: float = 0.0
    evaluate_s: float = 0.0


def _ignore(_record: BatchRecord) -> None:
    """Observe nothing."""


def _itself(group: Hashable) -> Hashable:
    return group


class Batcher(Generic[GroupT, ItemT, ResultT]):
    """One device and the line of structures in front of it.

    All methods belong to the event loop that called ``start``; only the evaluator runs in
    another thread.
    """

    def __init__(
        self,
        evaluate: Evaluator[GroupT, ItemT, ResultT],
        limits: BatcherLimits,
        *,
        kind_of: Callable[[GroupT], Hashable] = _itself,
        observe: Callable[[BatchRecord], None] = _ignore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the device; nothing runs before ``start``.

        Args:
            evaluate: The device.
            limits: How much may wait and how long a batch may take.
            kind_of: Names what the cost of a group's batches depends on; groups of one kind
                are learnt about together.
            observe: Called in the event loop after every batch.
            clock: Seconds on a monotonic clock.
        """
        self._evaluate = evaluate
        self._limits = limits
        self._kind_of = kind_of
        self._observe = observe
        self._clock = clock
        self._experience = Experience(limits)
        self._admission = Admission(limits.max_structures, self.clearing_s)
        self._line: Line[GroupT, ItemT, _Done[ResultT]] = Line()
        self._outlook: Outlook[GroupT] = Outlook(self._line, self._experience, kind_of, clock)
        self._wake = asyncio.Event()
        self._device = ThreadPoolExecutor(max_workers=1, thread_name_prefix="device")
        self._loop_task: asyncio.Task[None] | None = None
        self._finished: Callable[[], None] | None = None

    def room(self, group: GroupT) -> Room:
        """How far the next batch of a group may grow."""
        return self._experience.room(self._kind_of(group))

    @property
    def n_waiting(self) -> int:
        """Structures in the line."""
        return len(self._line)

    @property
    def n_admitted(self) -> int:
        """Structures admitted and not yet answered."""
        return self._admission.n_present

    def clearing_s(self) -> float:
        """Predicted seconds until everybody present is answered."""
        return self._outlook.clearing_s(n_present=self.n_admitted)

    def start(self) -> None:
        """Begin to serve the line."""
        self._loop_task = asyncio.create_task(self._supervise(), name="batcher")

    def healthy(self) -> bool:
        """Whether the device is idle or has made progress within the time allowed.

        A batch is one step: the stall timeout grows with the cost of the one on the device,
        and with the time that it was expected to take.
        """
        if self._loop_task is None or self._loop_task.done():
            return False
        if not self._outlook.busy and not self._line:
            return True
        return not self._outlook.stalled(self._limits.stall_timeout_s)

    def admission(self, n_structures: int) -> AbstractContextManager[None]:
        """Count the structures of a request as present inside a ``with`` block.

        Args:
            n_structures: Structures in the request.

        Raises:
            Draining: If the service is shutting down.
            Overloaded: If the structures present leave no room.
        """
        return self._admission.admit(n_structures)

    async def submit(
        self,
        group: GroupT,
        works: Sequence[Work[ItemT]],
        *,
        deadline: float | None = None,
        priority: Priority = "interactive",
    ) -> Answers[ResultT]:
        """Wait in line with the structures of one request until all are answered.

        Args:
            group: What they share; only structures of one group meet in a batch.
            works: The structures.
            deadline: Clock reading after which no answer is wanted.
            priority: Who waits for the answer; bulk structures fill what room others leave.

        Returns:
            One result or error per structure, in order.

        Raises:
            DeadlineExceeded: If the deadline passes first, or is bound to.
            Draining: If nobody serves the line any more.
        """
        if self._loop_task is not None and self._loop_task.done():
            raise Draining("the service was shut down", retry_after_s=DRAINING_RETRY_S)
        now = self._clock()
        insists = deadline is not None and self._outlook.too_late(
            group, [work.cost for work in works], deadline=deadline, priority=priority
        )
        waiting = [
            Waiting(
                item=work.item,
                cost=work.cost,
                answer=asyncio.get_running_loop().create_future(),
                deadline=deadline,
                arrived=now,
                priority=priority,
                insists=insists,
            )
            for work in works
        ]
        if not self.n_waiting and not self._outlook.busy:
            self._outlook.progress()
        ticket = self._line.join(group, waiting, priority)
        self._wake.set()
        patience = None if deadline is None else asyncio.timeout(deadline - now)
        try:
            async with patience or contextlib.nullcontext():
                done = [await each.answer for each in waiting]
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed before the answer") from error
        finally:
            self._line.leave(ticket)
            for each in waiting:
                each.answer.cancel()
        return Answers(
            results=tuple(each.result for each in done),
            queue_s=max((each.queue_s for each in done), default=0.0),
            evaluate_s=max((each.evaluate_s for each in done), default=0.0),
        )

    def refuse_new(self) -> None:
        """Refuse further requests with Draining; those admitted go on."""
        self._admission.close()

    async def stop(self, drain_timeout_s: float) -> None:
        """Refuse new requests, let the admitted ones finish, then stop.

        Args:
            drain_timeout_s: How long to wait; whoever is left then gets Draining.
        """
        self.refuse_new()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_timeout_s):
                await self._admission.until_empty()
        if self._loop_task is not None:
            self._loop_task.cancel()
            await asyncio.gather(self._loop_task, return_exceptions=True)
        self._review()
        self._answer_with(self._line.clear(), Draining("the service was shut down"))
        self._device.shutdown(wait=False, cancel_futures=True)

    async def _supervise(self) -> None:
        """Serve the line for ever; a defect fails one batch, never the loop."""
        while True:
            await self._wake.wait()
            try:
                batch = self._line.form(self.room, self._clock())
            except FormationError as failure:
                logger.exception("a batch could not be formed")
                self._answer_with(failure.waiting, InternalError("no batch could be formed"))
                continue
            if batch is None:
                self._wake.clear()
                continue
            self._answer_with(batch.expired, DeadlineExceeded("no time is left for an answer"))
            try:
                await self._serve(batch)
            except asyncio.CancelledError:
                self._answer_with(batch.members, Draining("the service was shut down"))
                raise
            except Exception:
                logger.exception("a batch of %d structures was lost", len(batch.members))
                self._answer_with(batch.members, InternalError("the batch could not be served"))
            finally:
                self._outlook.end()

    async def _serve(self, batch: Batch[GroupT, ItemT, _Done[ResultT]]) -> None:
        """Evaluate one batch on the device and answer its members."""
        if not batch.members:
            return
        started = self._clock()
        self._outlook.begin(batch)
        items = [each.item for each in batch.members]

        def evaluate() -> Outcome[ResultT]:
            return evaluate_isolated(self._evaluate, batch.group, items)

        loop = asyncio.get_running_loop()
        outcome = await loop.run_in_executor(self._device, evaluate)
        elapsed = self._clock() - started
        for each, result in zip(batch.members, outcome.results, strict=True):
            if not each.answer.done():
                queue_s = started - each.arrived
                each.answer.set_result(_Done(result=result, queue_s=queue_s, evaluate_s=elapsed))
        self._review()
        self._finished = partial(self._learn, batch, outcome, started, elapsed)
        if outcome.too_large:
            self._review()
        else:
            loop.call_later(REVIEW_AFTER_S, self._review)

    def _review(self) -> None:
        """Learn from the last batch; at once where memory ran out: the next must be smaller."""
        finished, self._finished = self._finished, None
        if finished is not None:
            try:
                finished()
            except Exception:
                logger.exception("nothing could be learnt from a batch")

    def _learn(
        self,
        batch: Batch[GroupT, ItemT, _Done[ResultT]],
        outcome: Outcome[ResultT],
        started: float,
        elapsed: float,
    ) -> None:
        self._experience.learn(self._kind_of(batch.group), batch, outcome, elapsed)
        self._observe(BatchRecord.of(batch, outcome, started=started, elapsed_s=elapsed))

    def _answer_with(
        self, waiting: Sequence[Waiting[ItemT, _Done[ResultT]]], error: PosterionError
    ) -> None:
        for each in waiting:
            if not each.answer.done():
                each.answer.set_result(_Done(result=error))
