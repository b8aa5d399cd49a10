"""One and the same run by any MD code, in its own environment, through its own adapter."""

import json
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from posterion_client import Client
from posterion_client.md import Precision
from posterion_client.selftest._code import Service
from posterion_client.selftest._codes import CODES
from tests.support.md_codes import run_in_environment

_ENVIRONMENTS = {"lammps-plugin": "lammps", "ase": "ipi", "c": "ipi", "fortran": "ipi"}
"""Where a code lies that has no environment of its own name; these need an interpreter only."""

_PROGRAM = """
import json, sys
from dataclasses import replace
from posterion_client.selftest._code import Service
from posterion_client.selftest._codes import code_named
from posterion_client.selftest._jobs import default_subjects, job_of

asked = json.loads(sys.argv[1])
subjects = default_subjects(asked["elements"])
job = job_of(subjects.free, Service(**asked["service"]), n_steps=asked["n_steps"])
numbers = job.numbers.copy()
for atom, number in asked["changes"]:
    numbers[atom] = number
found = code_named(asked["code"]).run(replace(job, numbers=numbers))
print(json.dumps(found.total.tolist()))
"""


class CodeRun:
    """A run at constant energy of ethanol in free space.

    Args:
        code: Name of the MD code.
        service: Whom it asks.
        folder: Where it runs.
        n_steps: How many steps.
        changes: Atoms that are of another element, ``(place, atomic number)``.
    """

    def __init__(
        self,
        code: str,
        service: Service,
        folder: Path,
        *,
        n_steps: int,
        changes: Sequence[tuple[int, int]] = (),
    ) -> None:
        asked = json.dumps(
            {
                "code": code,
                "elements": [1, 6, 8],
                "service": asdict(service),
                "n_steps": n_steps,
                "changes": list(changes),
            }
        )
        self._done: subprocess.CompletedProcess[str] | None = None

        def run() -> None:
            self._done = run_in_environment(
                environment_of(code), ["-c", _PROGRAM, asked], cwd=folder
            )

        self._thread = threading.Thread(target=run)
        self._thread.start()

    @property
    def goes_on(self) -> bool:
        """Whether it has not ended."""
        return self._thread.is_alive()

    def end(self) -> subprocess.CompletedProcess[str]:
        """Wait until it has ended."""
        self._thread.join()
        assert self._done is not None
        return self._done

    def totals(self) -> list[float]:
        """Total energy at each step of a run that must end well, eV."""
        done = self.end()
        assert done.returncode == 0, done.stdout + done.stderr
        found: list[float] = json.loads(done.stdout.splitlines()[-1])
        return found


def environment_of(code: str) -> str:
    """Name of the environment in which a code is run."""
    assert code in CODES
    return _ENVIRONMENTS.get(code, code)


def pinned(url: str, *, precision: Precision = "float64") -> Service:
    """The default model of a service, with the sample set that is served now.

    Args:
        url: Of the service.
        precision: Of the numbers.
    """
    with Client(url) as client:
        card = client.model()
    return Service(url=url, model=card.name, digest=card.digest, precision=precision)
