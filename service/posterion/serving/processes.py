"""Which processes belong to us, and how all of them end.

Ray starts a tree of processes, some of which start sessions of their own. The service
adopts every orphan among its descendants (Linux' child subreaper), so whatever it started,
directly or not, stays below it and can be ended by process id, and nothing else ever is.
"""

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
POLL_S = 0.05


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends.

    Raises:
        OSError: If the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def children() -> frozenset[int]:
    """Process ids of the direct children of this process, zombies left out."""
    return frozenset(_living().get(os.getpid(), []))


def descendants(root: int | None = None) -> list[int]:
    """Process ids below ``root`` (default: this process), zombies left out.

    Args:
        root: Process id to start from; itself not included.

    Returns:
        Ids, parents before their children.
    """
    living = _living()
    found: list[int] = []
    queue = [os.getpid() if root is None else root]
    while queue:
        below = living.get(queue.pop(0), [])
        found.extend(below)
        queue.extend(below)
    return found


def end_descendants(*, patience_s: float, deadline_s: float) -> int:
    """End every process below this one: SIGTERM first, SIGKILL for those that stay.

    Args:
        patience_s: Time between SIGTERM and SIGKILL.
        deadline_s: Time after which to give up waiting for the killed ones.

    Returns:
        How many processes were still there when asked to end.
    """
    asked = descendants()
    _signal_all(asked, signal.SIGTERM)
    started = time.monotonic()
    while descendants() and time.monotonic() - started < patience_s:
        _reap()
        time.sleep(POLL_S)
    while (left := descendants()) and time.monotonic() - started < deadline_s:
        _signal_all(left, signal.SIGKILL)
        _reap()
        time.sleep(POLL_S)
    _reap()
    return len(asked)


def _living() -> dict[int, list[int]]:
    """Children of every process."""
    found: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            parent = _living_parent(entry)
            if parent is not None:
                found.setdefault(parent, []).append(int(entry.name))
    return found


def _living_parent(entry: Path) -> int | None:
    """Parent of a process; None if it has ended or is a zombie."""
    try:
        # The name, in parentheses, may hold anything; what follows it is fixed.
        state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
    except (OSError, ValueError):
        return None
    return None if state == "Z" else int(parent)


def _signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _reap() -> None:
    """Collect every child that has ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass
