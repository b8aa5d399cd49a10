"""Ends i-PI, whichever thread notices that it cannot go on."""

import os
import sys
import time
from typing import NoReturn

from ipi.utils.softexit import softexit


def end_run(line: str) -> NoReturn:
    """Say why, let i-PI write its RESTART file, and end the process with status 1.

    i-PI's own soft exit ends with status 0, and an exception in one of its polling threads
    would leave its main thread waiting for ever. In the socket driver there is no simulation
    to save.

    Args:
        line: What the log says.

    Raises:
        SystemExit: Where i-PI is not run as a program, and in the socket driver.
    """
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
    if not softexit.flist and not softexit.triggered:
        raise SystemExit(1)
    if softexit.hard_exit:
        # The last of the functions that a soft exit calls: RESTART is written by then, and no
        # thread has been waited for that may wait for this one.
        softexit.register_function(_leave)
    # While the first outputs are written there is nothing to restart from.
    status = "bad" if softexit.lock.locked() else "restartable"
    try:
        softexit.cleanup(status=status, message=f" @{line}")
        while softexit.exiting:  # the main thread got there first
            time.sleep(0.01)
    finally:
        # Also where the main thread holds the outputs back, or RESTART cannot be written.
        if softexit.hard_exit:
            _leave()
    raise SystemExit(1)


def _leave() -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
