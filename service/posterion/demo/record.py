"""The results of the demo as one JSON document."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np

from posterion.demo.answers import Answer, Answers
from posterion.demo.checks import Check
from posterion.demo.dynamics import TIMESTEP_FS, Trajectory
from posterion_client import PosterionError

FORMAT_VERSION: Final = 1

Document = dict[str, object]


def write_record(
    path: Path, *, answers: Answers, trajectory: Trajectory, checks: Sequence[Check], mode: str
) -> None:
    """Write the document.

    Args:
        path: The file; replaced if it exists.
        answers: About the four structures.
        trajectory: The run at constant energy.
        checks: The verdict.
        mode: How the service ran.
    """
    document: Document = {
        "format_version": FORMAT_VERSION,
        "passed": all(each.passed for each in checks),
        "checks": [asdict(each) for each in checks],
        "mode": mode,
        "model": asdict(answers.model),
        "units": {"energy": "eV", "forces": "eV/angstrom", "time": "fs"},
        "force_threshold": answers.force_threshold,
        "request_ms": answers.request_ms,
        "structures": {each.subject.key: _structure(each) for each in answers.items},
        "dynamics": _dynamics(trajectory),
    }
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _structure(answer: Answer) -> Document:
    outcome = answer.outcome
    if isinstance(outcome, PosterionError):
        return {
            "status": "error",
            "error": {"code": outcome.code, "detail": outcome.detail},
            "call_ms": answer.call_ms,
        }
    assert outcome.uncertainty is not None, "the demo asks for the uncertainty"
    forces = outcome.uncertainty.forces
    return {
        "status": outcome.status,
        "energy": outcome.energy,
        "energy_epistemic_std": outcome.uncertainty.energy.epistemic,
        "energy_total_std": outcome.uncertainty.energy.total,
        "force_max": float(np.linalg.norm(outcome.forces, axis=1).max()),
        "force_epistemic_std_max": forces.max,
        "force_epistemic_std_rms": forces.rms,
        "flags": [asdict(flag) for flag in outcome.flags],
        "call_ms": answer.call_ms,
    }


def _dynamics(trajectory: Trajectory) -> Document:
    return {
        "n_steps": len(trajectory.moments) - 1,
        "timestep_fs": TIMESTEP_FS,
        "drift_mev_per_atom": trajectory.drift_mev_per_atom,
        "call_ms": trajectory.call_ms,
        "n_flagged": trajectory.n_flagged,
        "moments": [asdict(each) for each in trajectory.moments],
    }
