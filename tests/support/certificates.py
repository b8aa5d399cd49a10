"""Self-tests of MD codes in their own environments, and what their certificates say."""

import json
from pathlib import Path
from typing import Any

from tests.support.md_codes import run_in_environment


def certificate_of(
    code: str, url: str, folder: Path, *, environment: str | None = None, model: str | None = None
) -> dict[str, Any]:
    """Run ``posterion-client selftest`` and read the certificate it writes.

    Args:
        code: Name of the code.
        url: Of the service.
        folder: Where the certificate goes.
        environment: Where the code lies; default is the environment of its name.
        model: Which model; default is the service's.
    """
    path = folder / f"{code}.json"
    named = [] if model is None else ["--model", model]
    done = run_in_environment(
        environment or code,
        ["-m", "posterion_client", "selftest", "--client", code, "--url", url, *named,
         "--json", str(path)],
        cwd=folder,
    )  # fmt: skip
    assert path.exists(), done.stdout + done.stderr
    found: dict[str, Any] = json.loads(path.read_text())
    assert found["holds"], done.stdout
    assert done.returncode == 0
    return found


def deviation(certificate: dict[str, Any], name: str) -> float:
    """The largest deviation that any check of a name found."""
    found = [check for check in certificate["checks"] if check["name"] == name]
    return max(float(check["deviation"]) for check in found)
