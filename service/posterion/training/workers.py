"""How chains run in parallel: one process per group, restarted never, reported always."""

import multiprocessing
import os
import queue
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue
from typing import Final, NamedTuple, TypeAlias

from posterion.errors import OperationError, PosterionError
from posterion.training.worker import Progress, WorkerTask, run_worker

POLL_S: Final = 0.5


class WorkerFailed(OperationError):
    """A worker process ended without finishing its chains."""

    code = "worker-failed"
    title = "Worker failed"


class _Failure(NamedTuple):
    chains: tuple[int, ...]
    error: PosterionError


Channel: TypeAlias = "Queue[Progress | _Failure]"


def run_workers(
    tasks: Sequence[WorkerTask], *, n_workers: int, report: Callable[[Progress], None]
) -> None:
    """Run all tasks, at most ``n_workers`` at a time, each in a process of its own.

    Args:
        tasks: Groups of chains.
        n_workers: Processes at the same time.
        report: Called in this process with every sign of life.

    Raises:
        PosterionError: The first error of a worker; the others are stopped and keep their
            checkpoints.
    """
    context = multiprocessing.get_context("spawn")
    channel: Channel = context.Queue()
    waiting = list(tasks)
    running: dict[tuple[int, ...], SpawnProcess] = {}
    try:
        while waiting or running:
            while waiting and len(running) < n_workers:
                task = waiting.pop(0)
                process = context.Process(target=_main, args=(task, channel), daemon=True)
                process.start()
                running[task.chains] = process
            _drain(channel, report)
            for chains, process in list(running.items()):
                if not process.is_alive():
                    process.join()
                    del running[chains]
                    _drain(channel, report)
                    _require_success(chains, process.exitcode)
    finally:
        for process in running.values():
            process.terminate()
            process.join()
        channel.close()


def _drain(channel: Channel, report: Callable[[Progress], None]) -> None:
    deadline = time.monotonic() + POLL_S
    try:
        while (remaining := deadline - time.monotonic()) > 0:
            message = channel.get(timeout=remaining)
            if isinstance(message, _Failure):
                raise message.error
            report(message)
    except queue.Empty:
        return


def _require_success(chains: tuple[int, ...], exit_code: int | None) -> None:
    if exit_code != 0:
        raise WorkerFailed(
            f"the process of chains {list(chains)} ended with exit code {exit_code}; its last "
            "checkpoint is kept, so starting the same command again continues from there"
        )


def _main(task: WorkerTask, channel: Channel) -> None:
    # cuBLAS is deterministic with a workspace of fixed size only, and reads this when it starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        run_worker(task, channel.put)
    except PosterionError as error:
        channel.put(_Failure(task.chains, error))
    except Exception:
        traceback.print_exc(file=sys.stderr)
        raise
