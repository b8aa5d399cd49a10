"""Which waiting structures make up the next batch.

Requests stand in a rotation. The request at the front leads the next batch: its first
structure is always taken, even where it exceeds the bounds alone, and it decides the group.
The others give one structure each in turn, as long as the batch has room for it. A request
that gave goes to the back; one that was passed over keeps its place. So a request of a
thousand structures shares every batch with its neighbours, and a large structure waits for
at most as many batches as there were requests before it.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

GroupT = TypeVar("GroupT", bound=Hashable)
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a structure, or several, takes on the device.

    Attributes:
        edges: Edges times posterior samples to evaluate.
        atoms: Atoms times posterior samples to evaluate.
    """

    edges: int
    atoms: int

    def __add__(self, other: "Cost") -> "Cost":
        """Cost of both together."""
        return Cost(edges=self.edges + other.edges, atoms=self.atoms + other.atoms)

    def __sub__(self, other: "Cost") -> "Cost":
        """Cost of what is left."""
        return Cost(edges=self.edges - other.edges, atoms=self.atoms - other.atoms)

    def fits(self, bounds: "Cost") -> bool:
        """Whether neither edges nor atoms exceed ``bounds``."""
        return self.edges <= bounds.edges and self.atoms <= bounds.atoms

    def halved(self) -> "Cost":
        """Half of both, at least one."""
        return Cost(edges=max(1, self.edges // 2), atoms=max(1, self.atoms // 2))


NOTHING = Cost(edges=0, atoms=0)


@dataclass(slots=True, kw_only=True, eq=False)
class Waiting(Generic[ItemT, ResultT]):
    """One structure in the line.

    Attributes:
        item: What the device needs to evaluate it.
        cost: What it takes on the device.
        answer: Where its result goes; done means that nobody waits any more.
        deadline: Clock reading after which no answer is wanted; None = never.
        arrived: Clock reading at which it joined the line.
    """

    item: ItemT
    cost: Cost
    answer: "asyncio.Future[ResultT]"
    deadline: float | None
    arrived: float

    def expired(self, now: float) -> bool:
        """Whether the deadline has passed at clock reading ``now``."""
        return self.deadline is not None and now >= self.deadline


@dataclass(slots=True, kw_only=True, eq=False)
class Batch(Generic[GroupT, ItemT, ResultT]):
    """Structures to be evaluated together.

    Attributes:
        group: What they share: bank and options.
        members: The structures, in the order they were taken.
        expired: Structures met on the way whose deadline has passed; not evaluated.
        cost: Sum over the members.
    """

    group: GroupT
    members: list[Waiting[ItemT, ResultT]] = field(default_factory=list)
    expired: list[Waiting[ItemT, ResultT]] = field(default_factory=list)
    cost: Cost = NOTHING

    def has_room(self, cost: Cost, bounds: Cost) -> bool:
        """Whether a structure of ``cost`` may join; the first one always may."""
        return not self.members or (self.cost + cost).fits(bounds)

    def add(self, waiting: Waiting[ItemT, ResultT]) -> None:
        """Take one structure."""
        self.members.append(waiting)
        self.cost += waiting.cost


@dataclass(slots=True, kw_only=True, eq=False)
class _Request(Generic[GroupT, ItemT, ResultT]):
    group: GroupT
    waiting: deque[Waiting[ItemT, ResultT]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limit:
    bounds: Cost
    now: float


class Line(Generic[GroupT, ItemT, ResultT]):
    """The structures that wait for the device, by request."""

    def __init__(self) -> None:
        """Start empty."""
        self._rotation: OrderedDict[int, _Request[GroupT, ItemT, ResultT]] = OrderedDict()
        self._next_key = 0
        self._n_waiting = 0
        self._cost = NOTHING

    def __len__(self) -> int:
        """Structures in the line, those nobody waits for any more included."""
        return self._n_waiting

    @property
    def cost(self) -> Cost:
        """Sum over the structures in the line."""
        return self._cost

    def join(self, group: GroupT, waiting: list[Waiting[ItemT, ResultT]]) -> None:
        """Let the structures of one request join at the back of the rotation."""
        if not waiting:
            return
        self._rotation[self._next_key] = _Request(group=group, waiting=deque(waiting))
        self._next_key += 1
        self._n_waiting += len(waiting)
        for each in waiting:
            self._cost += each.cost

    def clear(self) -> list[Waiting[ItemT, ResultT]]:
        """Empty the line and return who stood in it."""
        left = [each for request in self._rotation.values() for each in request.waiting]
        self._rotation.clear()
        self._n_waiting = 0
        self._cost = NOTHING
        return left

    def form(self, bounds: Cost, now: float) -> Batch[GroupT, ItemT, ResultT] | None:
        """Take the next batch out of the line.

        Args:
            bounds: What the batch may cost; the leading structure may exceed it alone.
            now: Clock reading, to leave out structures whose deadline has passed.

        Returns:
            The batch, possibly with expired members only; None if the line is empty of
            structures that anybody waits for.
        """
        batch: Batch[GroupT, ItemT, ResultT] | None = None
        limit = _Limit(bounds=bounds, now=now)
        candidates = list(self._rotation)
        while candidates:
            may_give_again: list[int] = []
            for key in candidates:
                request = self._rotation[key]
                batch = batch or self._lead(request)
                if batch is None:
                    del self._rotation[key]
                elif request.group == batch.group and self._take_one(key, request, batch, limit):
                    may_give_again.append(key)
            candidates = may_give_again
        return batch

    def _lead(
        self, request: _Request[GroupT, ItemT, ResultT]
    ) -> Batch[GroupT, ItemT, ResultT] | None:
        """Start a batch for the request at the front, if anybody in it still waits."""
        while request.waiting and request.waiting[0].answer.done():
            self._pop(request)
        return Batch(group=request.group) if request.waiting else None

    def _take_one(
        self,
        key: int,
        request: _Request[GroupT, ItemT, ResultT],
        batch: Batch[GroupT, ItemT, ResultT],
        limit: _Limit,
    ) -> bool:
        """Move one structure of the request to the batch; whether it may give another."""
        first = self._first_wanted(request, batch, limit.now)
        taken = first is not None and batch.has_room(first.cost, limit.bounds)
        if taken:
            batch.add(self._pop(request))
            self._rotation.move_to_end(key)
        if not request.waiting:
            del self._rotation[key]
        return taken and bool(request.waiting)

    def _first_wanted(
        self,
        request: _Request[GroupT, ItemT, ResultT],
        batch: Batch[GroupT, ItemT, ResultT],
        now: float,
    ) -> Waiting[ItemT, ResultT] | None:
        """Drop cancelled and expired structures up to the first that is still wanted."""
        while request.waiting:
            first = request.waiting[0]
            if first.answer.done():
                self._pop(request)
            elif first.expired(now):
                batch.expired.append(self._pop(request))
            else:
                return first
        return None

    def _pop(self, request: _Request[GroupT, ItemT, ResultT]) -> Waiting[ItemT, ResultT]:
        waiting = request.waiting.popleft()
        self._n_waiting -= 1
        self._cost -= waiting.cost
        return waiting
