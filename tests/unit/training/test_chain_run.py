"""A chain that is stopped anywhere goes on as if it had not been; one that diverges goes back."""

from pathlib import Path

import pytest
import torch

from posterion.errors import ChainDiverged
from posterion.posterior.chain import Phase
from posterion.training.chain_run import ChainRun
from posterion.training.chain_setup import chain_settings
from posterion.training.checkpoint import load_checkpoint, save_checkpoint
from posterion.training.config import TrainingConfig
from posterion.training.divergence import JUMP, MAX_RETRIES, WARM_UP
from posterion.training.objective import Potential
from tests.support.training_runs import (
    CYCLES,
    VARIANTS,
    failing_at,
    regression,
    regression_run,
    run_until,
    sampler,
    training_config,
)

FINGERPRINT = "of this run"
GENTLE = {"kind": "inverse-gradient-variance", "epsilon": 0.01, "minibatches": 50}


def config_of(variant: str = "sghmc") -> TrainingConfig:
    return training_config(method=VARIANTS[variant])


def reload(run: ChainRun, config: TrainingConfig, path: Path) -> ChainRun:
    """Store a run, forget it, and load it in a new process's place."""
    save_checkpoint(path, run.state_dict(), fingerprint=FINGERPRINT)
    other = regression_run(config)
    other.load_state_dict(load_checkpoint(path, fingerprint=FINGERPRINT))
    return other


def stops(run: ChainRun) -> list[int]:
    """Before the first step, and at the start, middle and end of every stretch."""
    found, first = {0, run.schedule.n_steps - 1}, 0
    for _, length in run.schedule.stretches:
        found |= {first + 1, first + length // 2, first + length}
        first += length
    return sorted(step for step in found if step < run.schedule.n_steps)


@pytest.mark.parametrize("variant", VARIANTS)
def test_run_stopped_in_any_phase_continues_bitwise(variant: str, tmp_path: Path) -> None:
    config = config_of(variant)
    straight = regression_run(config)
    phases = {straight.schedule.at(step).phase for step in range(straight.n_steps)}
    assert phases == set(Phase) - (set() if variant == "cyclical" else {Phase.EXPLORATION})
    interrupted = {}
    while not straight.finished:
        if straight.step in stops(straight):
            interrupted[straight.step] = reload(straight, config, tmp_path / "checkpoint")
        straight.advance()
    for step, run in interrupted.items():
        run_until(run, lambda run: run.finished)
        for name, value in straight.state_dict().items():
            assert torch.equal(run.state_dict()[name], value), (step, name)
    draws = straight.draws.stacked()
    assert draws.shape == (2, chain_settings(config).n_samples, draws.shape[2])
    assert len({tuple(draw) for draw in draws.flatten(0, 1).tolist()}) == 6


@pytest.mark.parametrize("variant", ["sghmc", "cyclical"])
def test_run_stopped_at_every_step_continues_bitwise(variant: str, tmp_path: Path) -> None:
    config = config_of(variant)
    straight, halting = regression_run(config), regression_run(config)
    while not straight.finished:
        straight.advance()
        halting.advance()
        halting = reload(halting, config, tmp_path / "checkpoint")
    assert torch.equal(halting.draws.stacked(), straight.draws.stacked())
    assert torch.equal(torch.stack(halting.traces), torch.stack(straight.traces))


def test_alternatives_draw_differently() -> None:
    draws = {}
    for variant in VARIANTS:
        run = regression_run(config_of(variant))
        run_until(run, lambda run: run.finished)
        draws[variant] = tuple(run.draws.stacked().flatten().tolist())
    assert len(set(draws.values())) == len(VARIANTS)


@pytest.mark.parametrize("variant", ["sghmc", "cyclical"])
def test_finished_run_goes_on_to_further_draws_bitwise(variant: str, tmp_path: Path) -> None:
    short, long = (training_config(method=VARIANTS[variant] | {"n_samples": n}) for n in (2, 5))
    first, straight = regression_run(short), regression_run(long)
    run_until(first, lambda run: run.finished)
    run_until(straight, lambda run: run.finished)
    extended = reload(first, long, tmp_path / "checkpoint")
    run_until(extended, lambda run: run.finished)
    assert torch.equal(extended.draws.stacked(), straight.draws.stacked())


def test_chains_have_their_own_streams_whatever_group_they_run_in() -> None:
    config = config_of()
    starts = [regression_run(config, chains=(chain,)).state_dict() for chain in (0, 1)]
    both = regression_run(config, chains=(0, 1)).state_dict()
    for chain, alone in enumerate(starts):
        assert torch.equal(both["position"][chain], alone["position"][0])
        for name in ("generator", "remaining"):
            assert torch.equal(both[f"order.{chain}.{name}"], alone[f"order.0.{name}"])
    assert not torch.equal(both["position"][0], both["position"][1])
    assert not torch.equal(starts[0]["noise"], starts[1]["noise"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_step_size_is_bitwise_constant_while_sampling(variant: str) -> None:
    """The factor of a cycle is a function of the step alone, beside the frozen step size."""
    run = regression_run(config_of(variant))
    run_until(run, lambda run: run.step == run.schedule.n_steps_before_sampling)
    before = run.state_dict()["step_size"].clone()
    assert bool((before > 0).all())
    run_until(run, lambda run: run.finished)
    state = run.state_dict()
    assert torch.equal(state["step_size"], before)
    assert torch.equal(state["frozen.eta"], before)


def test_momentum_is_measured_with_the_step_size_in_use() -> None:
    """Otherwise T_kin would fall with the factor, to a fifth of T at the end of a cycle."""
    cycles = CYCLES | {"exploration_temperature": 1.0, "exploration_steps": 60}
    method = sampler(schedule=cycles, thinning_steps=100, n_samples=8, preconditioner=GENTLE)
    run = regression_run(training_config(method=method))
    run_until(run, lambda run: run.step == run.schedule.n_steps_before_sampling)
    readings: list[float] = []
    while not run.finished:
        plan = run.schedule.at(run.step)
        report = run.advance()
        if plan.phase is Phase.SAMPLING and plan.step_factor < 0.5:
            readings.append(report.kinetic)
    # Eight cycles of 65 steps, ten numbers of memory 10 steps: 5 standard errors are 0.4.
    assert sum(readings) / len(readings) == pytest.approx(1.0, abs=0.4)


@pytest.mark.parametrize("phase", list(Phase))
def test_gradient_that_is_no_number_stops_the_chain_in_every_phase(phase: Phase) -> None:
    config = config_of("cyclical")
    schedule = regression_run(config).schedule
    steps = range(schedule.n_steps)
    at = next(step for step in steps if schedule.at(step).phase is phase)
    run = regression_run(config, failing_at(at, regression()))
    with pytest.raises(ChainDiverged, match=f"non-finite gradient at step {at}"):
        run_until(run, lambda run: run.finished)
    assert bool(run.state_dict()["position"].isfinite().all())


def test_error_that_jumps_is_a_divergence_once_the_mean_is_known() -> None:
    honest = regression()
    jump = 2.0 * JUMP

    def lying(parameters: torch.Tensor, indices: torch.Tensor, weight: torch.Tensor) -> Potential:
        result = honest(parameters, indices, weight)
        late = run.step > WARM_UP + 3
        return result._replace(force_error=torch.full((2,), jump if late else 1.0))

    run = regression_run(training_config(pretraining={"steps": WARM_UP + 100}), lying)
    with pytest.raises(ChainDiverged, match=f"jumped from 1 to 20 .* at step {WARM_UP + 4}"):
        run_until(run, lambda run: run.finished)


def test_retreat_while_pretraining_halves_the_learning_rate() -> None:
    calm, shaken = regression_run(config_of()), regression_run(config_of())
    for _ in range(2):
        shaken.retreat(shaken.state_dict())
    assert shaken.advance().learning_rate == 0.25 * calm.advance().learning_rate
    assert shaken.n_steps == calm.n_steps


def at_start(config: TrainingConfig) -> ChainRun:
    """A run at the end of pretraining, where a divergence of the chain leads back to."""
    run = regression_run(config)
    run_until(run, lambda run: run.step == config.pretraining.steps)
    return run


@pytest.mark.parametrize("variant", VARIANTS)
def test_retreat_halves_the_step_size_and_doubles_the_steps(variant: str) -> None:
    config = config_of(variant)
    calm, shaken = at_start(config), at_start(config)
    shaken.retreat(calm.state_dict())
    for run in (calm, shaken):
        run_until(run, lambda run: run.schedule.at(run.step).phase is Phase.RAMP)
    sizes = [run.state_dict()["step_size"] for run in (shaken, calm)]
    assert torch.equal(sizes[0], 0.5 * sizes[1])
    assert shaken.schedule == calm.schedule.stretched(2)
    for run in (calm, shaken):
        run_until(run, lambda run: run.finished)
    assert shaken.draws.stacked().shape == calm.draws.stacked().shape


def test_steps_are_lengthened_up_to_a_limit() -> None:
    run = at_start(config_of())
    start, asked = run.state_dict(), run.schedule
    lengths = []
    for _ in range(MAX_RETRIES):
        run.retreat(start)
        lengths.append(run.schedule)
    assert lengths == [asked.stretched(factor) for factor in (2, 4, 8, 8, 8)]
    assert run.state_dict()["halvings"] == MAX_RETRIES


def test_lengthened_run_continues_bitwise(tmp_path: Path) -> None:
    config = config_of("cyclical")
    straight = at_start(config)
    straight.retreat(straight.state_dict())
    halting = reload(straight, config, tmp_path / "checkpoint")
    assert halting.schedule == straight.schedule
    run_until(straight, lambda run: run.finished)
    while not halting.finished:
        halting.advance()
        if halting.step % 7 == 0:
            halting = reload(halting, config, tmp_path / "checkpoint")
    for name, value in straight.state_dict().items():
        assert torch.equal(halting.state_dict()[name], value), name


def test_retreat_gives_up_after_a_few_times_and_says_what_helps() -> None:
    run = regression_run(config_of())
    for _ in range(MAX_RETRIES):
        run.retreat(run.state_dict())
    with pytest.raises(ChainDiverged, match=r"lower pretraining\.learning_rate or"):
        run.retreat(run.state_dict())
