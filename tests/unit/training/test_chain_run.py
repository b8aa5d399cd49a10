"""A chain that is stopped anywhere goes on as if it had not been; one that diverges goes back."""

from pathlib import Path

import pytest
import torch

from posterion.errors import ChainDiverged
from posterion.posterior.chain import Phase
from posterion.training.chain_run import JUMP, MAX_RETRIES, WARM_UP, ChainRun
from posterion.training.checkpoint import load_checkpoint, save_checkpoint
from posterion.training.config import TrainingConfig
from posterion.training.objective import Potential
from tests.support.training_runs import (
    PRECONDITIONERS,
    failing_at,
    regression,
    regression_run,
    run_until,
    sampler,
    training_config,
)

FINGERPRINT = "of this run"


def config_of(preconditioner: str) -> TrainingConfig:
    return training_config(method=sampler(preconditioner))


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


@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
def test_run_stopped_in_any_phase_continues_bitwise(preconditioner: str, tmp_path: Path) -> None:
    config = config_of(preconditioner)
    straight = regression_run(config)
    phases = {straight.schedule.at(step).phase for step in stops(straight)}
    assert phases == set(Phase)
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
    assert draws.shape == (2, config.method.n_samples, draws.shape[2])
    assert len({tuple(draw) for draw in draws.flatten(0, 1).tolist()}) == 6


def test_run_stopped_at_every_step_continues_bitwise(tmp_path: Path) -> None:
    config = config_of("inverse-gradient-variance")
    straight, halting = regression_run(config), regression_run(config)
    while not straight.finished:
        straight.advance()
        halting.advance()
        halting = reload(halting, config, tmp_path / "checkpoint")
    assert torch.equal(halting.draws.stacked(), straight.draws.stacked())
    assert torch.equal(torch.stack(halting.traces), torch.stack(straight.traces))


def test_finished_run_goes_on_to_further_draws_bitwise(tmp_path: Path) -> None:
    short, long = (training_config(method=sampler(n_samples=n)) for n in (2, 5))
    first, straight = regression_run(short), regression_run(long)
    run_until(first, lambda run: run.finished)
    run_until(straight, lambda run: run.finished)
    extended = reload(first, long, tmp_path / "checkpoint")
    run_until(extended, lambda run: run.finished)
    assert torch.equal(extended.draws.stacked(), straight.draws.stacked())


def test_chains_have_their_own_streams_whatever_group_they_run_in() -> None:
    config = config_of("inverse-gradient-variance")
    starts = [regression_run(config, chains=(chain,)).state_dict() for chain in (0, 1)]
    both = regression_run(config, chains=(0, 1)).state_dict()
    for chain, alone in enumerate(starts):
        assert torch.equal(both["position"][chain], alone["position"][0])
        for name in ("generator", "remaining"):
            assert torch.equal(both[f"order.{chain}.{name}"], alone[f"order.0.{name}"])
    assert not torch.equal(both["position"][0], both["position"][1])
    assert not torch.equal(starts[0]["noise"], starts[1]["noise"])


def test_step_size_is_bitwise_constant_while_sampling() -> None:
    run = regression_run(config_of("inverse-gradient-variance"))
    run_until(run, lambda run: run.schedule.at(run.step).phase is Phase.SAMPLING)
    before = run.state_dict()["step_size"].clone()
    assert bool((before > 0).all())
    run_until(run, lambda run: run.finished)
    state = run.state_dict()
    assert torch.equal(state["step_size"], before)
    assert torch.equal(state["frozen.eta"], before)


@pytest.mark.parametrize("phase", list(Phase))
def test_gradient_that_is_no_number_stops_the_chain_in_every_phase(phase: Phase) -> None:
    config = config_of("inverse-gradient-variance")
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


def test_retreat_halves_the_learning_rate() -> None:
    config = config_of("inverse-gradient-variance")
    calm, shaken = regression_run(config), regression_run(config)
    shaken.retreat()
    shaken.retreat()
    assert shaken.advance().learning_rate == 0.25 * calm.advance().learning_rate


@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
def test_retreat_halves_the_step_size(preconditioner: str, tmp_path: Path) -> None:
    config = config_of(preconditioner)
    calm = regression_run(config)
    run_until(calm, lambda run: run.step == config.pretraining.steps)
    shaken = reload(calm, config, tmp_path / "start")
    shaken.retreat()
    for run in (calm, shaken):
        run_until(run, lambda run: run.schedule.at(run.step).phase is Phase.RAMP)
    sizes = [run.state_dict()["step_size"] for run in (shaken, calm)]
    assert torch.equal(sizes[0], 0.5 * sizes[1])


def test_retreat_gives_up_after_a_few_times_and_says_what_helps() -> None:
    run = regression_run(config_of("inverse-gradient-variance"))
    for _ in range(MAX_RETRIES):
        run.retreat()
    with pytest.raises(ChainDiverged, match=r"lower pretraining\.learning_rate or"):
        run.retreat()
