"""How good a bank is on frames it has never seen: numbers, pictures and a model card.

The card is the README of the sample set. It is written from the same objects that the
manifest holds, so that the two cannot disagree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from posterion.figures.calibration import component_panel, error_figure, reliability_figure
from posterion.figures.parity import parity_figure
from posterion.training.model_card import write_model_card
from posterion.training.report_input import ReportInput
from posterion.uncertainty.bootstrap import Statistic, bootstrap
from posterion.uncertainty.calibration import FlagThreshold
from posterion.uncertainty.judged import judge_atoms
from posterion.uncertainty.residuals import Residuals, energy_residuals, force_residuals
from posterion.uncertainty.score_statistics import (
    COVERAGE_LEVELS,
    accuracy_statistics,
    calibrated_nll_statistics,
    predictive_statistics,
    ranking_statistics,
)
from posterion.uncertainty.scores import mean_absolute_error
from posterion.uncertainty.thresholds import flagged

FloatArray = NDArray[np.float64]
JsonObject = dict[str, JsonValue]

ERROR_THRESHOLDS: Final = (0.1, 0.3)
"""Force errors of an atom above these are to be found, eV/Angstrom."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """What the trainer publishes beside the samples.

    Attributes:
        metrics: The metrics section of the manifest.
        files: Name to contents: ``README.md`` and the pictures it shows.
    """

    metrics: JsonObject
    files: dict[str, bytes]


def make_report(given: ReportInput) -> Report:
    """Measure a bank on its report frames and write its model card.

    Args:
        given: The bank, its frames and its provenance.

    Returns:
        Metrics, card and pictures.
    """
    metrics = report_metrics(given)
    forces, energies = report_residuals(given)
    figures = {
        "parity.png": parity_figure(forces, energies, n_atoms=given.held_out.n_atoms),
        "reliability.png": reliability_figure(
            [("forces", forces), ("energies", energies)],
            n_frames=given.held_out.n_structures,
            title="Reliability on frames never used before",
        ),
        "error_against_uncertainty.png": error_figure([component_panel(forces)]),
    }
    card = write_model_card(given, metrics)
    return Report(metrics=metrics, files={"README.md": card.encode(), **figures})


def report_residuals(given: ReportInput) -> tuple[Residuals, Residuals]:
    """Force components (eV/Angstrom) and energies (eV), calibrated with all samples."""
    return (
        force_residuals(given.held_out, given.calibration),
        energy_residuals(given.held_out, given.calibration),
    )


def report_metrics(given: ReportInput) -> JsonObject:
    """Score both quantities; every key ends in its unit, unless it is a pure number.

    Args:
        given: The bank and its report frames.

    Returns:
        A JSON object; null where a score is undefined.
    """
    held_out = given.held_out
    n_frames = held_out.n_structures
    entry = given.calibration.for_samples(held_out.n_samples)
    forces, energies = report_residuals(given)
    per_atom = energies.error / held_out.n_atoms
    return {
        "n_frames": n_frames,
        "n_samples": held_out.n_samples,
        **_quantity(
            forces, "force", "mev_per_angstrom", n_frames=n_frames, latent=held_out.latent_scores
        ),
        "force_error_detection": _detection(
            forces, n_frames=n_frames, latent=held_out.latent_scores
        ),
        **_quantity(energies, "energy", "mev", n_frames=n_frames),
        "energy_mae_mev_per_atom": 1e3 * mean_absolute_error(per_atom),
        "force_flagged_fraction": _flagged_fraction(entry.force_epistemic_max),
        "energy_flagged_fraction": _flagged_fraction(entry.energy_epistemic),
        "latent_flagged_fraction": _flagged_fraction(entry.latent_score_max),
        "flagged_fraction": float(np.mean(flagged(held_out, entry))),
    }


def _flagged_fraction(threshold: FlagThreshold | None) -> float | None:
    """Fraction of report frames above ``candidate``; None where the bank has no such rule."""
    return None if threshold is None else 1.0 - threshold.candidate_coverage


def _quantity(
    residuals: Residuals,
    name: str,
    unit: str,
    *,
    n_frames: int,
    latent: FloatArray | None = None,
) -> JsonObject:
    """Score one quantity; ``latent`` is that of the atoms, shape ``(n_atoms,)``."""
    per_value = None if latent is None else np.repeat(latent, 3)
    found = _values(
        accuracy_statistics(residuals, n_frames=n_frames)
        | predictive_statistics(residuals, n_frames=n_frames)
        | calibrated_nll_statistics(residuals, n_frames=n_frames, latent=per_value),
        n_frames=n_frames,
    )
    milli = {"mae": "mae", "rmse": "rmse", "crps": "crps_mixture", "sharpness": "sharpness"}
    return {
        **{f"{name}_{short}_{unit}": _milli(found[key]) for short, key in milli.items()},
        f"{name}_nll": found["nll_gaussian"],
        f"{name}_nll_mixture": found["nll_mixture"],
        f"{name}_cnll": {
            key.removeprefix("cnll_"): value
            for key, value in found.items()
            if key.startswith("cnll_")
        },
        f"{name}_coverage": {
            f"{level:.2f}": found[f"coverage_{100 * level:.0f}"] for level in COVERAGE_LEVELS
        },
        f"{name}_miscalibration_area": found["miscalibration_area"],
        f"{name}_error_spread_rank_correlation": found["spearman"],
    }


def _detection(forces: Residuals, *, n_frames: int, latent: FloatArray | None) -> JsonObject:
    """Area under the ROC curve of each uncertainty, for errors of atoms above thresholds."""
    atoms = judge_atoms(forces, latent=latent)
    found = _values(ranking_statistics(atoms, thresholds=ERROR_THRESHOLDS), n_frames=n_frames)
    return {
        f"{threshold:g}": {
            "fraction": found[f"fraction/error_above_{threshold:g}"],
            "auroc": {
                name: found[f"auroc/error_above_{threshold:g}/{name}"] for name in atoms.uncertainty
            },
        }
        for threshold in ERROR_THRESHOLDS
    }


def _values(statistics: Mapping[str, Statistic], *, n_frames: int) -> dict[str, float | None]:
    estimates = bootstrap(statistics, n_frames=[n_frames], n_resamples=0, seed=0)
    return {name: estimate.value for name, estimate in estimates.items()}


def _milli(value: float | None) -> float | None:
    return None if value is None else 1e3 * value
