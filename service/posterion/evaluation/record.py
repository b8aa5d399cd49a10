"""An evaluation as one JSON document: every score, and all it takes to repeat it."""

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import torch
from pydantic import JsonValue

from posterion.evaluation.bank_evaluation import Evaluated
from posterion.evaluation.flag_table import FlagTable, Proportion
from posterion.evaluation.frame_file import Familiarity, FrameFile
from posterion.evaluation.scores import Scores, ScoreSettings
from posterion.inference.loading import SampleBank
from posterion.uncertainty.bootstrap import INTERVAL_LEVEL, Estimate
from posterion.uncertainty.score_statistics import HALVES_SEED

FORMAT_VERSION: Final = 1

JsonObject = dict[str, JsonValue]

_PACKAGES: Final = ("posterion", "torch", "e3nn", "numpy", "scipy", "ase")
_CPU_FILE: Final = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EvaluatedFile:
    """One file, what a bank said about it, and how good that was.

    Attributes:
        file: What was read.
        familiarity: Whether the bank had seen it.
        evaluated: The bank's answers.
        scores: Their scores.
    """

    file: FrameFile
    familiarity: Familiarity
    evaluated: Evaluated
    scores: Scores


def scores_document(scores: Scores) -> JsonObject:
    """Write scores as nested JSON, without any per-frame or per-sample array."""
    return {
        "n_frames": scores.n_frames,
        "n_atoms": scores.n_atoms,
        "n_samples": scores.n_samples,
        "n_energies": scores.n_energies,
        "elements": dict(scores.elements),
        "scores": estimates_document(scores.estimates),
        "flags": flags_document(scores.flags),
    }


def estimates_document(estimates: Mapping[str, Estimate]) -> JsonObject:
    """Nest ``a/b/c`` names; each leaf holds ``value`` and ``interval``, null if undefined."""
    document: JsonObject = {}
    for name, estimate in estimates.items():
        *path, last = name.split("/")
        place = document
        for part in path:
            inner = place.setdefault(part, {})
            assert isinstance(inner, dict), f"{name} has a score for a parent"
            place = inner
        ends: list[JsonValue] = [estimate.low, estimate.high]
        place[last] = {
            "value": estimate.value,
            "interval": None if estimate.low is None else ends,
        }
    return document


def flags_document(table: FlagTable) -> JsonObject:
    """Write the table of flags and errors."""
    rows: JsonObject = {
        row.code: {
            name: _proportion(getattr(row, name))
            for name in ("flagged", "failed", "high_error", "between", "low_error")
        }
        for row in table.rows
    }
    return {
        "low_error_below_ev_per_angstrom": table.low,
        "high_error_above_ev_per_angstrom": table.high,
        "by_code": rows,
    }


def evaluation_document(
    bank: SampleBank,
    inside: EvaluatedFile,
    outside: EvaluatedFile | None,
    novelty: Mapping[str, Estimate],
    settings: ScoreSettings,
    *,
    created_at: str,
    device: torch.device,
) -> JsonObject:
    """Write a whole evaluation.

    Args:
        bank: The bank.
        inside: The file that was asked about.
        outside: The second file, if any.
        novelty: How well the second is told from the first; empty without a second.
        settings: What was chosen.
        created_at: ISO 8601, UTC.
        device: Where the samples were evaluated.

    Returns:
        A JSON object.
    """
    return {
        "format_version": FORMAT_VERSION,
        "created_at": created_at,
        "bank": {
            "name": bank.name,
            "version": bank.version,
            "digest": bank.digest,
            "method": bank.manifest.method,
            "level_of_theory": bank.manifest.level_of_theory,
            "n_samples": bank.n_samples,
            "calibration_id": bank.calibration.identity,
        },
        "settings": {
            "error_above_ev_per_angstrom": list(settings.thresholds),
            "n_resamples": settings.n_resamples,
            "seed": settings.seed,
            "seed_of_calibrated_nll": HALVES_SEED,
            "interval_level": INTERVAL_LEVEL,
        },
        "units": {"energy": "eV", "forces": "eV/angstrom", "nll": "nats"},
        "file": _file(inside),
        "against": None if outside is None else _file(outside),
        "out_of_distribution": estimates_document(novelty) if novelty else None,
        "hardware": hardware(device),
        "software": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
    }


def hardware(device: torch.device) -> JsonObject:
    """What the numbers were computed on."""
    return {
        "cpu": _cpu_name(),
        "n_cores": os.cpu_count(),
        "n_threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
    }


def _cpu_name() -> str:
    if _CPU_FILE.is_file():
        for line in _CPU_FILE.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _file(one: EvaluatedFile) -> JsonObject:
    return {
        "name": one.file.name,
        "sha256": one.file.sha256,
        "digest": one.file.digest,
        "n_frames_in_file": len(one.file.frames),
        "refused": [dict(asdict(each)) for each in one.evaluated.refused],
        "familiarity": dict(asdict(one.familiarity)),
        "wall_s": one.evaluated.wall_s,
        "cpu_s": one.evaluated.cpu_s,
        **scores_document(one.scores),
    }


def _proportion(proportion: Proportion) -> JsonObject:
    interval = proportion.interval
    return {
        "count": proportion.count,
        "of": proportion.of,
        "fraction": proportion.fraction,
        "interval": None if interval is None else list(interval),
    }
