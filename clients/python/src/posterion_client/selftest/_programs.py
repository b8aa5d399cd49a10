"""Runs the programs of a self-test."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

LONGEST_RUN_S: Final = 600.0


def run_program(command: Sequence[str], *, cwd: Path, timeout_s: float = LONGEST_RUN_S) -> str:
    """Run a program to its end.

    Args:
        command: The program and its arguments.
        cwd: Folder to run in.
        timeout_s: Longest time, seconds.

    Returns:
        What it wrote to standard output.

    Raises:
        RuntimeError: If it ends with another status than 0, or not in time.
    """
    try:
        done = subprocess.run(
            list(command), cwd=cwd, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{command[0]} did not end within {timeout_s:g} s") from error
    if done.returncode != 0:
        raise RuntimeError(
            f"{command[0]} ended with status {done.returncode}:\n"
            f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        )
    return done.stdout
