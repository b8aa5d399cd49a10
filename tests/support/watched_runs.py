"""Runs of MD codes in processes of their own, watched from outside by the energies they write."""

import subprocess
import threading
from pathlib import Path

from posterion.errors import UnknownModel
from tests.support.fake_backend import OLDER, STABLE, SpringBackend
from tests.support.md_codes import run_in_environment

_ENERGIES = "energies"
_END_S = 120.0


class RenewedBackend(SpringBackend):
    """The same name with another sample set only."""

    def _digest(self, name: str, version: str | None) -> str:
        if version == STABLE:
            raise UnknownModel(f"no version {version}")
        return OLDER


class WatchedRun:
    """A program that writes a line per step to the file ``energies``.

    Args:
        environment: Of the MD code.
        program: Python text; its arguments are the address and what follows.
        folder: Where it runs.
        arguments: The address of the service, and further ones.
    """

    def __init__(self, environment: str, program: str, folder: Path, *arguments: str) -> None:
        self._path = folder / _ENERGIES
        self._path.unlink(missing_ok=True)
        self._done: subprocess.CompletedProcess[str] | None = None

        def run() -> None:
            self._done = run_in_environment(
                environment, ["-c", program, *arguments], cwd=folder, timeout_s=_END_S
            )

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def energies(self) -> list[str]:
        """The lines so far."""
        return self._path.read_text().splitlines() if self._path.exists() else []

    def end(self) -> subprocess.CompletedProcess[str]:
        """Wait until the process has ended."""
        self._thread.join(_END_S + 10)
        assert self._done is not None
        return self._done

    def finished(self) -> list[str]:
        """All lines of a process that must end well."""
        done = self.end()
        assert done.returncode == 0, done.stderr
        return self.energies()

    def failure(self) -> str:
        """The line with which a process ended that must not end well."""
        done = self.end()
        assert done.returncode != 0
        return done.stderr.splitlines()[-1]
