"""When, where and with what a result was measured: what every result file says."""

import importlib.metadata
import os
import platform
from collections.abc import Sequence

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
