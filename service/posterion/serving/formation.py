"""What a batch is: what its structures cost, how far it may grow, and who is in it."""

import asyncio
import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from posterion.structures.evaluation import Priority

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

    def share(self, n_taken: int, n_all: int) -> "Cost":
        """Cost of some of as many equal parts, rounded down."""
        return Cost(edges=self.edges * n_taken // n_all, atoms=self.atoms * n_taken // n_all)

    def halved(self) -> "Cost":
        """Half of both, at least one."""
        return Cost(edges=max(1, self.edges // 2), atoms=max(1, self.atoms // 2))


NOTHING = Cost(edges=0, atoms=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How far a batch may grow.

    Attributes:
        memory: What it may cost.
        seconds: Predicts how long a batch of some cost takes.
        max_seconds: How long it may take.
        max_bulk_seconds: How long it may take with a further bulk structure.
    """

    memory: Cost
    seconds: Callable[[Cost], float]
    max_seconds: float
    max_bulk_seconds: float


@dataclass(slots=True, kw_only=True, eq=False)
class Waiting(Generic[ItemT, ResultT]):
    """One structure in the line.

    Attributes:
        item: What the device needs to evaluate it.
        cost: What it takes on the device.
        answer: Where its result goes; done means that nobody waits any more.
        deadline: Clock reading after which no answer is wanted; None = never.
        arrived: Clock reading at which it joined the line.
        priority: Who waits for it.
        insists: Whether it is evaluated even where its deadline seems out of reach.
    """

    item: ItemT
    cost: Cost
    answer: "asyncio.Future[ResultT]"
    deadline: float | None
    arrived: float
    priority: Priority = "interactive"
    insists: bool = False

    @property
    def due(self) -> float:
        """Clock reading that its batch should end by; infinite if there is none."""
        return math.inf if self.deadline is None or self.insists else self.deadline

    def expired(self, now: float, room: Room) -> bool:
        """Whether the deadline has passed, or would before a batch of its own ended."""
        if self.deadline is not None and now >= self.deadline:
            return True
        return self.due < math.inf and now + room.seconds(self.cost) > self.due


@dataclass(slots=True, kw_only=True, eq=False)
class Batch(Generic[GroupT, ItemT, ResultT]):
    """Structures to be evaluated together.

    Attributes:
        group: What they share: bank and options.
        members: The structures, in the order they were taken.
        room: How far it may grow.
        now: Clock reading at which it starts.
        expired: Structures met on the way whose deadline cannot be met; not evaluated.
        cost: Sum over the members.
        due: Earliest deadline among the members.
    """

    group: GroupT
    room: Room
    now: float
    members: list[Waiting[ItemT, ResultT]] = field(default_factory=list)
    expired: list[Waiting[ItemT, ResultT]] = field(default_factory=list)
    cost: Cost = NOTHING
    due: float = math.inf

    def has_room(self, waiting: Waiting[ItemT, ResultT]) -> bool:
        """Whether a structure may join and all members meet their deadlines.

        The first one always may.
        """
        if not self.members:
            return True
        grown, room = self.cost + waiting.cost, self.room
        if not grown.fits(room.memory):
            return False
        longest = room.max_bulk_seconds if waiting.priority == "bulk" else room.max_seconds
        return room.seconds(grown) <= min(longest, self.due - self.now, waiting.due - self.now)

    def add(self, waiting: Waiting[ItemT, ResultT]) -> None:
        """Take one structure."""
        self.members.append(waiting)
        self.cost += waiting.cost
        self.due = min(self.due, waiting.due)
