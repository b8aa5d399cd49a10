"""A process tree ends completely, and nothing outside it is touched."""

import json
import os
import subprocess
import sys
from typing import NamedTuple

import pytest

# Ends as soon as its own child, in a session of its own, has become deaf to SIGTERM.
MIDDLE = """
import subprocess, sys
deaf = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('deaf', flush=True); signal.pause()"
)
child = subprocess.Popen(
    [sys.executable, "-c", deaf], start_new_session=True, stdout=subprocess.PIPE
)
child.stdout.readline()
print(child.pid, flush=True)
"""

PARENT = """
import json, subprocess, sys
from posterion.serving.processes import adopt_orphans, children, descendants, end_descendants
adopt_orphans()
middle = subprocess.run([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, check=True)
willing = subprocess.Popen(["sleep", "600"])
told = {
    "started": sorted([int(middle.stdout), willing.pid]),
    "descendants": sorted(descendants()),
    "children": sorted(children()),
    "n_asked": end_descendants(patience_s=0.3, deadline_s=20.0),
    "left": descendants(),
}
print(json.dumps(told))
"""


class Told(NamedTuple):
    """What a process saw of its descendants, before and after it ended them."""

    started: list[int]
    descendants: list[int]
    children: list[int]
    n_asked: int
    left: list[int]


@pytest.fixture(scope="module")
def told() -> Told:
    """What a process with a willing child and a deaf, orphaned grandchild saw."""
    command = [sys.executable, "-c", PARENT, MIDDLE]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return Told(**json.loads(run.stdout))


def test_an_orphan_in_its_own_session_is_adopted(told: Told) -> None:
    assert told.descendants == told.children == told.started


def test_every_descendant_ends_even_a_deaf_one(told: Told) -> None:
    assert told.n_asked == 2
    assert told.left == []
    for pid in told.started:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
