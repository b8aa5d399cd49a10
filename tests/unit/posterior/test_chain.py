"""Phases, minibatches and draws: the bookkeeping of a chain."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from posterion.errors import CheckpointMismatch, ConfigurationError
from posterion.posterior.chain import Draws, MinibatchOrder, Phase, PhaseSchedule, StepPlan
from posterion.posterior.step_size import freeze

SCHEDULE = PhaseSchedule(
    n_pretraining=7,
    n_estimation=3,
    n_ramp=4,
    n_burn_in=11,
    n_reestimations=2,
    n_draws=5,
    thinning=6,
    temperature=0.5,
)


def _plans(schedule: PhaseSchedule) -> list[StepPlan]:
    return [schedule.at(step) for step in range(schedule.n_steps)]


def _schedule(**changes: float) -> PhaseSchedule:
    return replace(SCHEDULE, **changes)  # type: ignore[arg-type]  # all but one are int


def test_phases_come_in_order_with_the_lengths_asked_for() -> None:
    assert SCHEDULE.stretches == (
        (Phase.PRETRAINING, 7),
        (Phase.ESTIMATION, 3),
        (Phase.RAMP, 4),
        (Phase.BURN_IN, 3),
        (Phase.ESTIMATION, 3),
        (Phase.BURN_IN, 4),
        (Phase.ESTIMATION, 3),
        (Phase.BURN_IN, 4),
        (Phase.SAMPLING, 30),
    )
    assert [p.phase for p in _plans(SCHEDULE)] == [
        phase for phase, length in SCHEDULE.stretches for _ in range(length)
    ]
    assert SCHEDULE.n_steps_before_sampling == 31


@pytest.mark.parametrize("n_reestimations", [0, 1, 3])
@pytest.mark.parametrize("n_pretraining", [0, 7])
def test_the_step_size_freezes_once_and_before_every_draw(
    n_reestimations: int, n_pretraining: int
) -> None:
    schedule = _schedule(n_reestimations=n_reestimations, n_pretraining=n_pretraining)
    plans = _plans(schedule)
    freezing = [step for step, plan in enumerate(plans) if plan.freezes]
    setting = [step for step, plan in enumerate(plans) if plan.sets_step_size]
    draws = [step for step, plan in enumerate(plans) if plan.draws]
    assert len(setting) == n_reestimations + 1
    assert freezing == setting[-1:]
    assert len(draws) == schedule.n_draws
    assert freezing[0] < schedule.n_steps_before_sampling <= draws[0]
    assert draws[-1] == schedule.n_steps - 1
    assert {b - a for a, b in pairwise(draws)} == {schedule.thinning}


def test_burn_in_is_shared_out_without_loss() -> None:
    for n_burn_in in range(3, 30):
        plans = _plans(_schedule(n_burn_in=n_burn_in))
        assert sum(plan.phase is Phase.BURN_IN for plan in plans) == n_burn_in


def test_the_temperature_rises_linearly_and_stays() -> None:
    by_phase: dict[Phase, list[float]] = {phase: [] for phase in Phase}
    for plan in _plans(SCHEDULE):
        by_phase[plan.phase].append(plan.temperature)
    assert by_phase[Phase.RAMP] == [0.125, 0.25, 0.375, 0.5]
    assert set(by_phase[Phase.BURN_IN] + by_phase[Phase.SAMPLING]) == {0.5}
    assert set(by_phase[Phase.PRETRAINING] + by_phase[Phase.ESTIMATION]) == {0.0}


def test_a_chain_stands_still_while_its_gradient_variance_is_estimated() -> None:
    for plan in _plans(SCHEDULE):
        assert plan.moves == (plan.phase is not Phase.ESTIMATION)


def test_steps_outside_the_schedule_are_refused() -> None:
    for step in (-1, SCHEDULE.n_steps):
        with pytest.raises(ValueError, match=f"got {step}"):
            SCHEDULE.at(step)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_estimation", 1),
        ("n_pretraining", -1),
        ("n_draws", 0),
        ("thinning", 0),
        ("n_burn_in", 2),
        ("temperature", 0.0),
        ("temperature", float("nan")),
    ],
)
def test_a_schedule_without_meaning_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} must be"):
        _schedule(**{name: value})


def _order(seed: int, n_data: int = 23, batch_size: int = 5) -> MinibatchOrder:
    generator = torch.Generator().manual_seed(seed)
    return MinibatchOrder(n_data=n_data, batch_size=batch_size, generator=generator)


def test_an_epoch_shows_no_datum_twice() -> None:
    order = _order(0, n_data=20)
    for _ in range(3):
        epoch = torch.cat([order.next_batch() for _ in range(4)])
        assert torch.equal(epoch.sort().values, torch.arange(20))


def test_a_remainder_too_short_for_a_minibatch_is_left_out() -> None:
    order = _order(0)
    for _ in range(3):
        epoch = torch.cat([order.next_batch() for _ in range(4)])
        assert len(set(epoch.tolist())) == 20


def test_every_datum_is_seen_equally_often() -> None:
    order = _order(0)
    n_epochs = 2000
    seen = torch.bincount(torch.cat([order.next_batch() for _ in range(4 * n_epochs)]))
    # Each epoch leaves out 3 of 23: a binomial count of 2000 trials at 20 / 23, sd 15.
    p = 20 / 23
    bound = 5 * (n_epochs * p * (1 - p)) ** 0.5
    assert float((seen - n_epochs * p).abs().max()) < bound


def test_the_order_resumes_in_the_middle_of_an_epoch() -> None:
    order = _order(0)
    for _ in range(6):
        order.next_batch()
    other = _order(1)
    other.load_state_dict(order.state_dict())
    for _ in range(10):
        assert torch.equal(order.next_batch(), other.next_batch())


def test_another_data_set_cannot_resume_the_order() -> None:
    with pytest.raises(CheckpointMismatch, match=r"\(23, 5\).*\(24, 5\)"):
        _order(0, n_data=24).load_state_dict(_order(0).state_dict())


@pytest.mark.parametrize("batch_size", [0, 24])
def test_an_impossible_batch_size_is_refused(batch_size: int) -> None:
    with pytest.raises(ConfigurationError, match=f"number of data 23, got {batch_size}"):
        _order(0, batch_size=batch_size)


def test_draws_are_copies_stacked_by_chain() -> None:
    frozen = freeze(torch.ones(2, 3))
    position = torch.zeros(2, 3)
    draws = Draws()
    for value in range(4):
        draws = draws.collect(position.fill_(float(value)), frozen)
    stacked = draws.stacked()
    assert stacked.shape == (2, 4, 3)
    assert torch.equal(stacked, torch.arange(4.0)[None, :, None].expand(2, 4, 3))
    with pytest.raises(ValueError, match="no draw"):
        Draws().stacked()
