"""Phases and draws: the bookkeeping of a chain."""

import math
import re
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from posterion.errors import ConfigurationError
from posterion.posterior.chain import Draws, Phase, PhaseSchedule, StepPlan
from posterion.posterior.schedules import ConstantSchedule, CyclicalSchedule
from posterion.posterior.step_size import freeze

SCHEDULE = PhaseSchedule(
    n_pretraining=7,
    n_estimation=3,
    n_ramp=4,
    n_burn_in=11,
    n_reestimations=2,
    sampling=ConstantSchedule(n_draws=5, thinning=6, temperature=0.5),
)
CYCLES = CyclicalSchedule(
    n_draws=6,
    draws_per_cycle=2,
    thinning=5,
    n_exploration=8,
    n_ramp=4,
    n_settling=3,
    exploration_temperature=2.0,
    floor=0.1,
    temperature=0.5,
)


def _plans(schedule: PhaseSchedule) -> list[StepPlan]:
    return [schedule.at(step) for step in range(schedule.n_steps)]


def _schedule(**changes: int) -> PhaseSchedule:
    return replace(SCHEDULE, **changes)  # type: ignore[arg-type]  # all but sampling are int


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
    assert len(draws) == schedule.sampling.n_draws
    assert freezing[0] < schedule.n_steps_before_sampling <= draws[0]
    assert draws[-1] == schedule.n_steps - 1
    assert {b - a for a, b in pairwise(draws)} == {6}


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
        ("n_burn_in", 2),
    ],
)
def test_phases_without_meaning_are_refused(name: str, value: int) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} must be"):
        _schedule(**{name: value})


@pytest.mark.parametrize("schedule", [SCHEDULE.sampling, CYCLES], ids=["constant", "cyclical"])
@pytest.mark.parametrize(
    ("name", "value"),
    [("n_draws", 0), ("thinning", 0), ("temperature", 0.0), ("temperature", float("nan"))],
)
def test_a_schedule_without_meaning_is_refused(
    schedule: ConstantSchedule | CyclicalSchedule, name: str, value: float
) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} must be"):
        replace(schedule, **{name: value})  # type: ignore[arg-type]  # int or float


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [("draws_per_cycle", 4, "multiple of"), ("floor", 0.0, "floor must be"), ("floor", 1.5, "(0,")],
)
def test_cycles_without_meaning_are_refused(name: str, value: float, message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        replace(CYCLES, **{name: value})  # type: ignore[arg-type]  # int or float


def test_every_cycle_explores_goes_to_its_temperature_settles_and_draws() -> None:
    steps = [CYCLES.at(index) for index in range(CYCLES.n_steps)]
    assert len(steps) == 3 * 25
    for first in (0, 25, 50):
        cycle = steps[first : first + 25]
        assert [step.temperature for step in cycle[:12]] == [2.0] * 8 + [1.625, 1.25, 0.875, 0.5]
        assert {step.temperature for step in cycle[12:]} == {0.5}
        assert [i for i, step in enumerate(cycle) if step.restarts] == [0]
        assert [i for i, step in enumerate(cycle) if step.settled] == list(range(15, 25))
        assert [i for i, step in enumerate(cycle) if step.draws] == [19, 24]
        assert [i for i, step in enumerate(cycle) if step.traces] == list(range(15, 25))
        factors = [step.step_factor for step in cycle]
        expected = [0.1 + 0.45 * (1.0 + math.cos(math.pi * i / 25)) for i in range(25)]
        assert factors == pytest.approx(expected)


def test_steps_outside_equilibrium_are_exploration() -> None:
    plans = _plans(replace(SCHEDULE, sampling=CYCLES))[SCHEDULE.n_steps_before_sampling :]
    assert {plan.phase for plan in plans if plan.traces or plan.draws} == {Phase.SAMPLING}
    assert [plan.phase for plan in plans[:25]] == [Phase.EXPLORATION] * 15 + [Phase.SAMPLING] * 10
    assert {plan.length for plan in plans} == {75}
    assert sum(plan.draws for plan in plans) == CYCLES.n_draws


@pytest.mark.parametrize("sampling", [SCHEDULE.sampling, CYCLES], ids=["constant", "cyclical"])
def test_stretching_keeps_the_draws_and_multiplies_their_distance(
    sampling: ConstantSchedule | CyclicalSchedule,
) -> None:
    short = replace(SCHEDULE, sampling=sampling)
    long = short.stretched(4)
    assert long.n_burn_in == 4 * short.n_burn_in
    assert long.sampling.n_steps == 4 * short.sampling.n_steps
    for schedule in (short, long):
        assert sum(plan.draws for plan in _plans(schedule)) == sampling.n_draws
    assert long.n_pretraining + long.n_ramp == short.n_pretraining + short.n_ramp
    last = short.sampling.n_steps - 1
    assert long.sampling.at(4 * last + 3).step_factor == pytest.approx(
        short.sampling.at(last).step_factor, abs=0.05
    )
    assert short.stretched(1) == short


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
