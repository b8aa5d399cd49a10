"""Processes that publish and promote for the tests of concurrency and crashes.

Run as a script, so that each is a process of its own that shares nothing with the test.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from posterion_store import Store, local_storage
from tests.support.sample_sets import publish_sample_set


def race(url: str, first: int, n_sets: int) -> None:
    """Publish and promote sample sets of one bank, as fast as it goes."""
    store = Store.open(url)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for number in range(first, first + n_sets):
        entry = store.promote("ethanol", publish_sample_set(store, number=number), by=str(first))
        sys.stdout.write(f"{entry.seq} {entry.manifest}\n")


def crash(root: str) -> None:
    """Publish and promote once per step, each time killed just before that step.

    The steps are the calls that change the directory or wait for the disk. Every attempt
    has a store of its own, ``root/<step>``; the last one is not killed.
    """
    step = 0
    killed = True
    while killed:
        step += 1
        child = os.fork()
        if child == 0:
            _kill_before(step)
            store = Store.open(Path(root, f"{step:03d}"))
            store.promote("ethanol", publish_sample_set(store), by="crash test")
            os._exit(0)
        killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])


def _kill_before(step: int) -> None:
    """Let this process be killed just before a step.

    A killed process loses nothing it has handed to the kernel, so waiting for the disk is a
    step to be killed at, but is not done.
    """
    left = [step]

    def count(module: ModuleType, name: str, call: Callable[..., object]) -> None:
        def counted(*arguments: object) -> object:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments)

        setattr(module, name, counted)

    count(local_storage, "write_durably", local_storage.write_durably)
    count(os, "fsync", lambda _: None)
    count(os, "link", os.link)
    count(os, "unlink", os.unlink)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["race", url, first, n_sets]:
            race(url, int(first), int(n_sets))
        case ["crash", root]:
            crash(root)
        case _:
            sys.exit("race URL FIRST N_SETS | crash ROOT")
