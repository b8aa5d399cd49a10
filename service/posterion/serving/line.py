"""Which waiting structures make up the next batch.

Requests stand in a rotation. The request at the front leads the next batch: its first
structure is always taken, even where it exceeds the bounds alone, and it decides the group.
The others give one structure each in turn, as long as the batch has room for it. A request
that gave goes to the back; one that was passed over keeps its place. So a request of a
thousand structures shares every batch with its neighbours, and a large structure waits for
at most as many batches as there were requests before it.

Interactive requests have a rotation of their own, which is asked first; bulk ones fill what
room is left to them. Passed over often enough, the bulk request at the front leads a batch.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from posterion.serving.formation import NOTHING, Batch, Cost, Room, Waiting
from posterion.structures.evaluation import Priority

GroupT = TypeVar("GroupT", bound=Hashable)
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

BATCHES_BEFORE_BULK = 8
"""After so many batches that passed the foremost bulk structure over, it leads the next."""


class FormationError(Exception):
    """No batch could be formed.

    Attributes:
        waiting: Structures that are no longer in the line and must be answered.
    """

    def __init__(self, waiting: Sequence[Waiting[Any, Any]]) -> None:
        """Name who must be answered."""
        super().__init__(f"{len(waiting)} structures have left the line")
        self.waiting = waiting


@dataclass(slots=True, kw_only=True, eq=False)
class _Request(Generic[GroupT, ItemT, ResultT]):
    group: GroupT
    waiting: deque[Waiting[ItemT, ResultT]]
    cost: Cost


class Line(Generic[GroupT, ItemT, ResultT]):
    """The structures that wait for the device, by priority and request."""

    def __init__(self) -> None:
        """Start empty."""
        self._rotations: dict[Priority, OrderedDict[int, _Request[GroupT, ItemT, ResultT]]] = {
            "interactive": OrderedDict(),
            "bulk": OrderedDict(),
        }
        self._next_key = 0
        self._n_waiting = 0
        self._n_passed_over = 0

    def __len__(self) -> int:
        """Structures in the line."""
        return self._n_waiting

    def join(
        self,
        group: GroupT,
        waiting: list[Waiting[ItemT, ResultT]],
        priority: Priority = "interactive",
    ) -> int:
        """Let the structures of one request join at the back of a rotation.

        Returns:
            A ticket to leave with.
        """
        ticket = self._next_key
        self._next_key += 1
        if waiting:
            cost = sum((each.cost for each in waiting), NOTHING)
            request = _Request(group=group, waiting=deque(waiting), cost=cost)
            self._rotations[priority][ticket] = request
            self._n_waiting += len(waiting)
        return ticket

    def leave(self, ticket: int) -> list[Waiting[ItemT, ResultT]]:
        """Take what is left of a request out of the line, and return it."""
        for rotation in self._rotations.values():
            request = rotation.pop(ticket, None)
            if request is not None:
                self._n_waiting -= len(request.waiting)
                return list(request.waiting)
        return []

    def costs(self) -> dict[GroupT, Cost]:
        """Sum over all structures of each group."""
        return self._costs(("interactive", "bulk"), n_turns=self._n_waiting)

    def costs_before(self, n_structures: int, priority: Priority) -> dict[GroupT, Cost]:
        """What is evaluated before the last structure of a request that would join now.

        Every request gives one structure in turn, so that of each only as many come before
        it as it has itself; interactive requests need not wait for bulk ones.

        Args:
            n_structures: Structures of that request.
            priority: Its priority.

        Returns:
            Cost by group.
        """
        before: tuple[Priority, ...] = ("interactive",)
        return self._costs(
            before if priority == "interactive" else (*before, "bulk"), n_turns=n_structures
        )

    def clear(self) -> list[Waiting[ItemT, ResultT]]:
        """Empty the line and return who stood in it."""
        left = [
            each
            for rotation in self._rotations.values()
            for request in rotation.values()
            for each in request.waiting
        ]
        for rotation in self._rotations.values():
            rotation.clear()
        self._n_waiting = 0
        return left

    def form(
        self, room_of: Callable[[GroupT], Room], now: float
    ) -> Batch[GroupT, ItemT, ResultT] | None:
        """Take the next batch out of the line.

        Args:
            room_of: How far a batch of a group may grow; the leading structure may exceed it.
            now: Clock reading, to leave out structures whose deadline cannot be met.

        Returns:
            The batch, possibly with expired members only; None if the line is empty of
            structures that anybody waits for.

        Raises:
            FormationError: If ``room_of`` raises, or what it returned does. The request at
                the front, or what was taken so far, has left the line: to form the next
                batch will not meet it again.
        """
        leader = self._leader()
        if leader is None:
            return None
        ticket, group = leader
        foremost = self._foremost_bulk()
        taken: list[Waiting[ItemT, ResultT]] = []
        try:
            batch = Batch(group=group, room=room_of(group), now=now, members=taken)
            for priority in self._order():
                self._fill(batch, self._rotations[priority])
        except Exception as error:
            raise FormationError(taken or self.leave(ticket)) from error
        passed_over = foremost is not None and self._foremost_bulk() is foremost
        self._n_passed_over = self._n_passed_over + 1 if passed_over else 0
        return batch

    def _order(self) -> tuple[Priority, Priority]:
        """Whose turn it is to lead."""
        if self._n_passed_over >= BATCHES_BEFORE_BULK:
            return ("bulk", "interactive")
        return ("interactive", "bulk")

    def _leader(self) -> tuple[int, GroupT] | None:
        """Ticket and group of the request that leads; those nobody waits for are dropped."""
        for priority in self._order():
            rotation = self._rotations[priority]
            for ticket, request in list(rotation.items()):
                if self._somebody_waits(request):
                    return ticket, request.group
                del rotation[ticket]
        return None

    def _fill(
        self,
        batch: Batch[GroupT, ItemT, ResultT],
        rotation: OrderedDict[int, _Request[GroupT, ItemT, ResultT]],
    ) -> None:
        """Let the requests of a rotation give a structure each, turn by turn."""
        candidates = list(rotation)
        while candidates:
            may_give_again: list[int] = []
            for ticket in candidates:
                request = rotation[ticket]
                if self._take_one(request, batch):
                    rotation.move_to_end(ticket)
                    may_give_again.append(ticket)
                if not request.waiting:
                    del rotation[ticket]
            candidates = [ticket for ticket in may_give_again if ticket in rotation]

    def _foremost_bulk(self) -> Waiting[ItemT, ResultT] | None:
        """The bulk structure whose turn it is; it stays so until it is taken or dropped."""
        front = next(iter(self._rotations["bulk"].values()), None)
        return None if front is None else front.waiting[0]

    def _somebody_waits(self, request: _Request[GroupT, ItemT, ResultT]) -> bool:
        """Drop cancelled structures up to the first that is still wanted, if there is one."""
        while request.waiting and request.waiting[0].answer.done():
            self._pop(request)
        return bool(request.waiting)

    def _take_one(
        self, request: _Request[GroupT, ItemT, ResultT], batch: Batch[GroupT, ItemT, ResultT]
    ) -> bool:
        """Move one structure of the request to the batch, if it may join; whether it did."""
        while request.group == batch.group and self._somebody_waits(request):
            first = request.waiting[0]
            if first.expired(batch.now, batch.room):
                batch.expired.append(self._pop(request))
            elif batch.has_room(first):
                batch.add(self._pop(request))
                return True
            else:
                return False
        return False

    def _costs(self, priorities: tuple[Priority, ...], *, n_turns: int) -> dict[GroupT, Cost]:
        found: dict[GroupT, Cost] = {}
        for priority in priorities:
            for request in self._rotations[priority].values():
                n_waiting = len(request.waiting)
                part = request.cost.share(min(n_turns, n_waiting), n_waiting)
                found[request.group] = found.get(request.group, NOTHING) + part
        return found

    def _pop(self, request: _Request[GroupT, ItemT, ResultT]) -> Waiting[ItemT, ResultT]:
        waiting = request.waiting.popleft()
        self._n_waiting -= 1
        request.cost -= waiting.cost
        return waiting
