"""MD codes in environments of their own, as their users have them."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
CLIENT_SOURCE = REPOSITORY / "clients" / "python" / "src"
ENVIRONMENTS_VARIABLE = "POSTERION_CLIENT_ENVIRONMENTS"
_RUN_S = 300.0


def environments_folder() -> Path:
    """Where ``.ci/client_environments`` puts them."""
    given = os.environ.get(ENVIRONMENTS_VARIABLE)
    return Path(given) if given else REPOSITORY / ".venv" / "md-codes"


def environment_python(name: str) -> Path:
    """The interpreter of an MD code's environment; fails the test where it is missing.

    Args:
        name: Of the environment: lammps, ipi, mdi, openmm, torchsim.
    """
    python = environments_folder() / name / "bin" / "python"
    if not python.exists():
        pytest.fail(f"{python} is missing; make it with .ci/client_environments {name}")
    return python


def run_in_environment(
    name: str,
    arguments: Sequence[str],
    *,
    cwd: Path | None = None,
    variables: Mapping[str, str] | None = None,
    timeout_s: float = _RUN_S,
) -> subprocess.CompletedProcess[str]:
    """Run the interpreter of an environment with the client of this tree.

    Args:
        name: Of the environment.
        arguments: Of the interpreter, e.g. ``["-m", "posterion_client", "selftest"]``.
        cwd: Folder to run in.
        variables: Added to the environment variables.
        timeout_s: Longest time, seconds.
    """
    env = {**os.environ, "PYTHONPATH": str(CLIENT_SOURCE), **(variables or {})}
    return subprocess.run(
        [str(environment_python(name)), *arguments],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
