"""Compiles what is not Python, from the sources beside this package's."""

import os
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from posterion_client._errors import InvalidArgument

SOURCES_VARIABLE: Final = "POSTERION_CLIENT_SOURCES"
_BUILD_S: Final = 300.0
_RUN_S: Final = 1800.0


def sources(name: str) -> Path:
    """Folder of a client's sources: c or lammps.

    Args:
        name: Of the folder below ``clients`` of the repository, or below the folder that the
            environment variable ``POSTERION_CLIENT_SOURCES`` names.

    Raises:
        InvalidArgument: If there is none.
    """
    given = os.environ.get(SOURCES_VARIABLE)
    folder = (Path(given) if given else Path(__file__).parents[4]) / name
    if not (folder / "Makefile").is_file():
        raise InvalidArgument(
            f"there is no {folder / 'Makefile'}; set {SOURCES_VARIABLE} to the folder clients of "
            "Posterion's repository"
        )
    return folder


class Build:
    """A folder of compiled programs, removed with the object.

    Args:
        name: Of the client.
        settings: Variables of its Makefile.
    """

    def __init__(self, name: str, settings: Mapping[str, str] | None = None) -> None:
        self._source = sources(name)
        self._settings = settings or {}
        self._folder = Path(tempfile.mkdtemp(prefix="posterion-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def made(self, target: str) -> Path:
        """A file of the folder, compiled unless it is there.

        Args:
            target: Its name.

        Raises:
            RuntimeError: If it does not compile.
        """
        path = self._folder / target
        variables = {**self._settings, "BUILD": str(self._folder)}
        told = [f"{name}={value}" for name, value in variables.items()]
        run(["make", "-s", "-C", str(self._source), str(path), *told], timeout_s=_BUILD_S)
        return path


def run(command: list[str], *, cwd: Path | None = None, timeout_s: float = _RUN_S) -> str:
    """Run a program and return what it writes.

    Args:
        command: Program and arguments.
        cwd: Folder to run in.
        timeout_s: Longest time, seconds.

    Raises:
        RuntimeError: With the end of its output, if its status is not 0 or it is missing.
    """
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeError(f"{command[0]} cannot be run: {error}") from error
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).strip().splitlines()[-15:]
        raise RuntimeError("\n".join([f"{command[0]} ended with {done.returncode}", *lines]))
    return done.stdout
