"""When, where and with what a result was measured: what every result file says."""

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from pydantic import JsonValue

from posterion.evaluation.record import hardware
from posterion_store.names import utc_now


def stamp(packages: Sequence[str]) -> dict[str, JsonValue]:
    """Describe a run.

    Args:
        packages: Distributions whose version matters.

    Returns:
        Date, hardware, load of the machine and versions.
    """
    return {
        "format_version": 1,
        "created_at": utc_now(),
        "hardware": hardware(torch.device("cpu")),
        "load_average": list(os.getloadavg()),
        "software": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
        },
    }


def write_result(path: Path, found: Mapping[str, JsonValue], *, packages: Sequence[str]) -> None:
    """Write what was measured, with its stamp.

    Args:
        path: Of the JSON file; its folder is made.
        found: The measurements; they have the last word where they have a key of the stamp.
        packages: Distributions whose version matters.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {**stamp(packages), **found}
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
