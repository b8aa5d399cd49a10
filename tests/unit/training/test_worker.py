"""A worker brings its chains to the end, comes back from divergence, and is alone at it."""

import fcntl
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from posterion.errors import ChainDiverged, CheckpointMismatch
from posterion.network.functional import NetworkFunction
from posterion.posterior.prior import GaussianPrior
from posterion.structures.ase_io import LabelledFrame
from posterion.training import run_parts, worker
from posterion.training.chain_setup import chain_settings, phase_schedule
from posterion.training.checkpoint import load_checkpoint
from posterion.training.history import column, read_log
from posterion.training.likelihood import ForceLikelihood
from posterion.training.objective import PaddedFrames, PotentialFunction, make_potential
from posterion.training.plan import RunPlan, plan_run
from posterion.training.worker import Progress, WorkerTask, run_worker
from posterion.training.workers import WorkerFailed, run_workers
from tests.support.data import morse_frames, write_extxyz
from tests.support.training_runs import N_DATA, failing_at, training_config

N_FRAMES = N_DATA + 60

Finished = tuple[WorkerTask, list[Progress]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "frames.extxyz"
    write_extxyz(path, morse_frames(N_FRAMES, seed=8))
    return path


def planned(data: Path, folder: Path, **changes: object) -> RunPlan:
    return plan_run(training_config(files=(data,), **changes), folder)


def state_of(task: WorkerTask, name: str = "checkpoint") -> dict[str, torch.Tensor]:
    return load_checkpoint(task.folder / f"{name}.safetensors", fingerprint=task.fingerprint)


def run(task: WorkerTask) -> list[Progress]:
    signs: list[Progress] = []
    run_worker(task, signs.append)
    return signs


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    task = planned(data, tmp_path_factory.mktemp("run")).task((0,))
    return task, run(task)


class Killed(BaseException):
    """Ends a worker between two steps, as a signal would."""


def killer(at: int) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        if progress.step >= at:
            raise Killed

    return report


def test_worker_leaves_draws_traces_and_a_log(finished: Finished) -> None:
    task, signs = finished
    state = state_of(task)
    n_steps = int(state["step"])
    assert signs[-1].step == signs[-1].n_steps == n_steps
    draws = [state[f"draws.{i}"] for i in range(chain_settings(task.config).n_samples)]
    assert all(bool(draw.isfinite().all()) for draw in draws)
    assert state["traces.0"].shape == (1, run_parts.N_PROBE * 9)
    log = read_log(task.folder / "log.csv")
    assert column(log, "step").tolist() == [*range(5, n_steps, 5), n_steps]
    assert set(log["phase"]) == {"pretraining", "estimation", "ramp", "burn-in", "sampling"}


def test_worker_allows_deterministic_algorithms_only(data: Path, tmp_path: Path) -> None:
    before = torch.are_deterministic_algorithms_enabled()
    seen: list[bool] = []
    run_worker(
        planned(data, tmp_path, method={"kind": "mean-variance"}, n_chains=1).task((0,)),
        lambda progress: seen.append(torch.are_deterministic_algorithms_enabled()),
    )
    assert all(seen)
    assert torch.are_deterministic_algorithms_enabled() is before


def test_pretraining_lowers_the_error(finished: Finished) -> None:
    task, _ = finished
    error = column(read_log(task.folder / "log.csv"), "force_mae", phase="pretraining")
    assert error[-1] < error[0]


@pytest.mark.parametrize("at", [10, 60])
def test_worker_stopped_between_checkpoints_gives_the_same_draws(
    at: int,
    finished: Finished,
    tmp_path: Path,
) -> None:
    straight, _ = finished
    task = replace(straight, folder=tmp_path)
    with pytest.raises(Killed):
        run_worker(task, killer(at))
    assert 0 < int(state_of(task)["step"]) <= at
    run(task)
    state = state_of(task)
    for name, value in state_of(straight).items():
        assert torch.equal(state[name], value), name
    steps = [read_log(folder / "log.csv")["step"] for folder in (tmp_path, straight.folder)]
    assert steps[0] == steps[1]


def test_checkpoint_of_other_data_is_refused(
    finished: Finished,
) -> None:
    task, _ = finished
    with pytest.raises(CheckpointMismatch, match="use another --run-dir"):
        run(replace(task, fingerprint="another"))


def test_folder_in_use_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "LOCK_ATTEMPTS", 1)
    task = planned(data, tmp_path).task((0,))
    task.folder.mkdir()
    with (task.folder / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(CheckpointMismatch, match="another process is advancing this chain"):
            run(task)


def spoilt(frames: tuple[LabelledFrame, ...]) -> tuple[LabelledFrame, ...]:
    """One label that no float32 square can hold."""
    absurd = replace(frames[0], forces=np.full((3, 3), 1e25))
    return (absurd, *frames[1:])


def test_absurd_label_ends_the_run_with_advice(data: Path, tmp_path: Path) -> None:
    task = planned(data, tmp_path).task((0,))
    with pytest.raises(ChainDiverged, match=r"check the labels .* Last: non-finite gradient") as e:
        run(replace(task, frames=spoilt(task.frames)))
    assert e.value.code == "chain-diverged"


def diverge_once(monkeypatch: pytest.MonkeyPatch, *, call: int) -> None:
    """Let the gradient be NaN once, at one call of the potential that the worker makes."""

    def failing(
        function: NetworkFunction,
        frames: PaddedFrames,
        *,
        likelihood: ForceLikelihood,
        prior: GaussianPrior,
        n_data: int,
    ) -> PotentialFunction:
        honest = make_potential(function, frames, likelihood=likelihood, prior=prior, n_data=n_data)
        return failing_at(call, honest)

    monkeypatch.setattr(run_parts, "make_potential", failing)


def test_divergence_while_pretraining_goes_back_to_the_last_checkpoint(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diverge_once(monkeypatch, call=12)
    task = planned(data, tmp_path).task((0,))
    signs = run(task)
    state = state_of(task)
    assert int(state["retries"]) == 1
    assert signs[-1].step == int(state["step"])
    # Steps 1 to 7 were taken at the full learning rate, those after the checkpoint at half.
    log = read_log(task.folder / "log.csv")
    rate = dict(zip(log["step"], column(log, "learning_rate"), strict=True))
    assert log["step"][:2] == ["5", "10"]
    assert rate["10"] < 0.6 * rate["5"]
    assert bool(state["draws.0"].isfinite().all())


def test_divergence_while_sampling_goes_back_to_the_end_of_pretraining(
    finished: Finished,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calm, _ = finished
    schedule = phase_schedule(calm.config)
    diverge_once(monkeypatch, call=schedule.n_steps_before_sampling + 6)
    task = replace(calm, folder=tmp_path)
    run(task)
    shaken, before = state_of(task), state_of(calm)
    assert int(shaken["retries"]) == 1
    assert len([name for name in shaken if name.startswith("draws.")]) == 3
    assert torch.equal(state_of(task, "start")["position"], state_of(calm, "start")["position"])
    ratio = (shaken["frozen.eta"] / before["frozen.eta"]).median()
    assert float(ratio) < 0.8
    assert int(shaken["step"]) == schedule.stretched(2).n_steps
    (sign,) = run(task)
    assert sign.message == "finished before"


def test_start_left_by_a_later_step_is_not_gone_back_to(
    finished: Finished,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed between the two files that end pretraining, a chain stands before its start."""
    calm, _ = finished
    task = replace(calm, folder=tmp_path)
    with pytest.raises(Killed):
        run_worker(task, killer(15))
    (tmp_path / "start.safetensors").write_bytes((calm.folder / "start.safetensors").read_bytes())
    diverge_once(monkeypatch, call=16 - int(state_of(task)["step"]))
    run(task)
    pretrained = state_of(task, "start")
    assert int(pretrained["retries"]) == 1
    assert not torch.equal(pretrained["position"], state_of(calm, "start")["position"])


def test_process_that_is_killed_is_reported_with_its_chains(data: Path, tmp_path: Path) -> None:
    """A real worker process, ended from outside as the system would when memory runs out."""
    long = {"steps": 100_000}
    task = planned(data, tmp_path, pretraining=long).task((0,))

    def end(progress: Progress) -> None:
        if progress.step:
            (child,) = multiprocessing.active_children()
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)

    with pytest.raises(WorkerFailed, match=r"chains \[0\] ended with exit code -9; its last"):
        run_workers([task], n_workers=1, report=end)
