"""Interactive structures come first, and bulk ones never starve."""

import asyncio
from collections.abc import Iterable

import pytest

from posterion.serving.formation import Cost, Room, Waiting
from posterion.serving.line import BATCHES_BEFORE_BULK, Line
from posterion.structures.evaluation import Priority

PER_ITEM_S = 0.01
ROOM = Room(
    memory=Cost(edges=1_000, atoms=1_000),
    seconds=lambda cost: PER_ITEM_S * cost.edges,
    max_seconds=0.16,
    max_bulk_seconds=0.04,
)
ONE = Cost(edges=1, atoms=1)
LARGE = Cost(edges=8, atoms=1)
"""Too large for the share of a batch that bulk structures fill."""


def waiting(
    items: Iterable[int], priority: Priority, now: float, cost: Cost = ONE
) -> list[Waiting[int, int]]:
    loop = asyncio.new_event_loop()
    members = [
        Waiting(
            item=item,
            cost=cost,
            answer=loop.create_future(),
            deadline=None,
            arrived=now,
            priority=priority,
        )
        for item in items
    ]
    loop.close()
    return members


class Simulation:
    """A line in front of a device whose time is the clock's; no thread and no waiting."""

    def __init__(self) -> None:
        self.line: Line[str, int, int] = Line()
        self.now = 0.0

    def join(
        self, items: Iterable[int], priority: Priority, group: str = "a", cost: Cost = ONE
    ) -> int:
        return self.line.join(group, waiting(items, priority, self.now, cost), priority)

    def step(self) -> list[Waiting[int, int]]:
        batch = self.line.form(lambda _group: ROOM, self.now)
        assert batch is not None
        self.now += ROOM.seconds(batch.cost)
        return batch.members


def test_interactive_structures_go_before_bulk_ones_that_came_first() -> None:
    run = Simulation()
    run.join(range(100), "bulk")
    run.join([1000], "interactive")
    assert [each.item for each in run.step()] == [1000, 0, 1, 2]


def test_bulk_fills_a_quarter_of_a_batch_so_that_a_step_waits_little() -> None:
    run = Simulation()
    run.join(range(100), "bulk")
    assert len(run.step()) == 4
    run.join(range(200, 208), "interactive")
    assert [each.item for each in run.step()] == list(range(200, 208))


def test_bulk_of_another_group_leads_after_a_bounded_number_of_batches() -> None:
    run = Simulation()
    run.join(range(40), "bulk", group="b")
    left, n_batches, waits = 40, 0, []
    last = run.now
    while left:
        # Interactive demand above what the device can do: there is always a full batch.
        while len(run.line) - left < 32:
            run.join([1_000 + n_batches], "interactive")
        members = run.step()
        n_batches += 1
        if members[0].priority == "bulk":
            left -= len(members)
            waits.append(run.now - last)
            last = run.now
    assert len(waits) == 10
    longest = BATCHES_BEFORE_BULK * ROOM.max_seconds + ROOM.max_bulk_seconds
    assert max(waits) <= longest + 1e-9
    assert n_batches == 10 * (BATCHES_BEFORE_BULK + 1)


def test_a_batch_led_by_bulk_still_takes_interactive_structures_along() -> None:
    run = Simulation()
    run.join(range(8), "bulk")
    for _ in range(BATCHES_BEFORE_BULK):
        run.join(range(100, 116), "interactive")
        assert all(each.priority == "interactive" for each in run.step())
    run.join(range(100, 116), "interactive")
    members = run.step()
    assert [each.item for each in members] == [0, 1, 2, 3, *range(100, 112)]


@pytest.mark.parametrize(("group", "cost"), [("b", ONE), ("a", LARGE)])
def test_bulk_that_never_fits_leads_though_other_bulk_fills_every_batch(
    group: str, cost: Cost
) -> None:
    run = Simulation()
    run.join([7], "bulk", group=group, cost=cost)
    run.join(range(100, 200), "bulk")
    for _ in range(BATCHES_BEFORE_BULK):
        run.join([1_000], "interactive")
        items = [each.item for each in run.step()]
        assert items[0] == 1_000
        assert 7 not in items
        assert len(items) == 4, "other bulk structures fill the batch"
    run.join([1_000], "interactive")
    assert run.step()[0].item == 7


def test_who_leaves_takes_the_rest_of_the_request_along() -> None:
    run = Simulation()
    run.join(range(3), "interactive", group="b")
    gone = run.join(range(100), "bulk")
    run.step()
    run.line.leave(gone)
    assert len(run.line) == 0
    assert run.line.costs() == {}
    run.line.leave(gone)
    assert len(run.line) == 0


def test_only_as_much_is_before_a_request_as_takes_turns_with_it() -> None:
    run = Simulation()
    run.join(range(100), "interactive")
    run.join(range(50), "bulk")
    assert run.line.costs_before(1, "interactive") == {"a": ONE}
    assert run.line.costs_before(2, "bulk")["a"] == Cost(edges=4, atoms=4)
    assert run.line.costs()["a"] == Cost(edges=150, atoms=150)
