"""What one worker process does: build the potential, advance its chains, keep them safe.

Chains in separate processes on a CPU, all chains as one vectorised group on a GPU.
"""

import fcntl
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import torch
from torch import Tensor

from posterion.errors import ChainDiverged, CheckpointMismatch
from posterion.network.config import EnergyReference, NetworkConfig
from posterion.network.functional import NetworkFunction
from posterion.structures.ase_io import LabelledFrame
from posterion.training.chain_log import ChainLog, open_event_files
from posterion.training.checkpoint import load_checkpoint, save_checkpoint
from posterion.training.config import TrainingConfig
from posterion.training.methods.protocol import MemberRun, Method
from posterion.training.methods.registry import method_of
from posterion.training.run_parts import RunParts, build_parts

CHECKPOINT: Final = "checkpoint.safetensors"
START: Final = "start.safetensors"

LOCK_ATTEMPTS: Final = 60
"""Seconds to wait for another process to let go of a chain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTask:
    """What a worker is given.

    Attributes:
        config: The run.
        chains: Chains to advance together.
        folder: Where checkpoints and logs of this group live.
        fingerprint: Identity of the run, stored in its checkpoints.
        network: Network configuration.
        reference: Energy reference.
        centre: Centre of the prior, where members start, shape ``(n_parameters,)``; None = a
            prior around zero and random weights.
        frames: Training frames.
        device: ``cpu`` or ``cuda``.
        compiled: Whether the step is compiled; it changes rounding.
    """

    config: TrainingConfig
    chains: tuple[int, ...]
    folder: Path
    fingerprint: str
    network: NetworkConfig
    reference: EnergyReference
    centre: Tensor | None
    frames: tuple[LabelledFrame, ...]
    device: str
    compiled: bool

    @property
    def method(self) -> Method:
        """What advances the members."""
        return method_of(self.config)


class Progress(NamedTuple):
    """A sign of life from a worker.

    Attributes:
        chains: Which group.
        step: Steps done.
        n_steps: Steps in all.
        message: Phase and current figures, for people.
    """

    chains: tuple[int, ...]
    step: int
    n_steps: int
    message: str


def run_worker(task: WorkerTask, report: Callable[[Progress], None]) -> None:
    """Advance a group of chains to its end, from its last checkpoint if there is one.

    Args:
        task: What to do.
        report: Called every few steps.

    Raises:
        ChainDiverged: If smaller steps did not help.
        CheckpointMismatch: If the folder belongs to another run, or to another process.
    """
    torch.set_num_threads(task.config.execution.threads_per_chain)
    with _deterministic():
        _run(task, report)


@contextmanager
def _deterministic() -> Iterator[None]:
    """Let torch refuse algorithms whose result depends on timing."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(mode=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _run(task: WorkerTask, report: Callable[[Progress], None]) -> None:
    task.folder.mkdir(parents=True, exist_ok=True)
    with _exclusive(task.folder):
        done, n_steps = _progress(task)
        if done >= n_steps:
            report(Progress(task.chains, n_steps, n_steps, "finished before"))
        else:
            report(Progress(task.chains, 0, n_steps, "preparing"))
            _advance_to_the_end(task, report)


def _progress(task: WorkerTask) -> tuple[int, int]:
    """Steps in the checkpoint and in all: a finished chain need not be built or compiled."""
    checkpoint = task.folder / CHECKPOINT
    if not checkpoint.exists():
        return 0, task.method.n_steps
    state = load_checkpoint(checkpoint, fingerprint=task.fingerprint)
    return int(state["step"]), task.method.n_steps_of(state)


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: two processes writing one chain would spoil it.

    Raises:
        CheckpointMismatch: If another process holds it for longer than a minute; an orphan
            of a killed run notices within seconds and lets go.
    """
    with (folder / "lock").open("w") as lock:
        for _ in range(LOCK_ATTEMPTS):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(1.0)
        else:
            raise CheckpointMismatch(
                f"{folder}: another process is advancing this chain; wait for it, end it, or "
                "use another --run-dir"
            )
        yield


def _require_parent() -> None:
    """End this process when the one that started it is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        raise SystemExit(1)


def _advance_to_the_end(task: WorkerTask, report: Callable[[Progress], None]) -> None:
    checkpoint, start = task.folder / CHECKPOINT, task.folder / START
    run = task.method.start(task.chains, _parts(task, report))
    if checkpoint.exists():
        run.load_state_dict(load_checkpoint(checkpoint, fingerprint=task.fingerprint))
    else:
        save_checkpoint(checkpoint, run.state_dict(), fingerprint=task.fingerprint)
    log = _log(task, run)
    while not run.finished:
        try:
            step = run.advance()
        except ChainDiverged as divergence:
            _go_back(task, run, str(divergence))
            log = _log(task, run)
            continue
        log.add(step)
        last = run.step == run.n_steps
        if last or run.step % task.config.execution.log_every == 0:
            _require_parent()
            row = log.write(run.step)
            report(Progress(task.chains, run.step, run.n_steps, row))
        starts = run.step == task.method.n_steps_to_start
        due = run.step % task.config.execution.checkpoint_every == 0
        if starts:
            save_checkpoint(start, run.state_dict(), fingerprint=task.fingerprint)
        if last or due or starts:
            save_checkpoint(checkpoint, run.state_dict(), fingerprint=task.fingerprint)


def _parts(task: WorkerTask, report: Callable[[Progress], None]) -> RunParts:
    if task.compiled:
        note = "compiling the training step (minutes, once)"
        report(Progress(task.chains, 0, task.method.n_steps, note))
    function = NetworkFunction(
        task.network, task.reference, dtype=torch.float32, device=task.device
    )
    return build_parts(
        task.config,
        task.frames,
        function,
        likelihood=task.method.likelihood,
        centre=task.centre,
        n_chains=len(task.chains),
        compiled=task.compiled,
    )


def _log(task: WorkerTask, run: MemberRun) -> ChainLog:
    wanted = task.config.execution.tensorboard
    return ChainLog(
        task.folder / "log.csv",
        resume_at=run.step,
        events=open_event_files(task.folder, resume_at=run.step) if wanted else None,
    )


def _go_back(task: WorkerTask, run: MemberRun, reason: str) -> None:
    """Return to the last safe state and halve the steps.

    A member that has passed its start returns to it; one before it, to its last checkpoint.
    """
    checkpoint, start = task.folder / CHECKPOINT, task.folder / START
    passed = run.step >= task.method.n_steps_to_start and start.exists()
    source = start if passed else checkpoint
    try:
        run.retreat(load_checkpoint(source, fingerprint=task.fingerprint))
    except ChainDiverged as error:
        raise ChainDiverged(f"{error.detail}. Last: {reason}") from error
    save_checkpoint(checkpoint, run.state_dict(), fingerprint=task.fingerprint)
