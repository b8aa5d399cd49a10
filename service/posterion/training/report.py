"""How good a bank is on frames it has never seen: numbers, pictures and a model card.

The card is the README of the sample set. It is written from the same objects that the
manifest holds, so that the two cannot disagree.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue
from scipy.stats import spearmanr

from posterion.training.model_card import write_model_card
from posterion.training.report_figures import (
    error_against_uncertainty_figure,
    parity_figure,
    reliability_figure,
)
from posterion.training.report_input import ReportInput, Residuals
from posterion.uncertainty.mixture import MixtureMoments
from posterion.uncertainty.scores import (
    gaussian_nll,
    interval_coverage,
    mean_absolute_error,
    miscalibration_area,
    root_mean_square_error,
)

FloatArray = NDArray[np.float64]
JsonObject = dict[str, JsonValue]

COVERAGE_LEVELS = (0.50, 0.68, 0.90, 0.95)


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
        "reliability.png": reliability_figure(forces, energies),
        "error_against_uncertainty.png": error_against_uncertainty_figure(forces),
    }
    card = write_model_card(given, metrics)
    return Report(metrics=metrics, files={"README.md": card.encode(), **figures})


def report_residuals(given: ReportInput) -> tuple[Residuals, Residuals]:
    """Force components (eV/Angstrom) and energies (eV), calibrated with all samples."""
    held_out = given.held_out
    n_samples = held_out.n_samples
    entry = given.calibration.for_samples(n_samples)
    forces = _residuals(
        held_out.force_moments(n_samples), held_out.force_reference, entry.forces.factor
    )
    energies = _residuals(
        held_out.energy_moments(n_samples), held_out.energy_reference, entry.energy.factor
    )
    return forces, energies


def report_metrics(given: ReportInput) -> JsonObject:
    """Score both quantities; every key ends in its unit, unless it is a pure number.

    Args:
        given: The bank and its report frames.

    Returns:
        A JSON object.
    """
    held_out = given.held_out
    entry = given.calibration.for_samples(held_out.n_samples)
    forces, energies = report_residuals(given)
    per_atom = energies.error / held_out.n_atoms
    return {
        "n_frames": held_out.n_structures,
        "n_samples": held_out.n_samples,
        "force_mae_mev_per_angstrom": 1e3 * mean_absolute_error(forces.error),
        "force_rmse_mev_per_angstrom": 1e3 * root_mean_square_error(forces.error),
        "force_nll": gaussian_nll(forces.error, forces.total),
        "force_coverage": _coverages(forces),
        "force_miscalibration_area": miscalibration_area(forces.error, forces.total),
        "force_error_spread_rank_correlation": _rank_correlation(forces),
        "energy_mae_mev": 1e3 * mean_absolute_error(energies.error),
        "energy_rmse_mev": 1e3 * root_mean_square_error(energies.error),
        "energy_mae_mev_per_atom": 1e3 * mean_absolute_error(per_atom),
        "energy_nll": gaussian_nll(energies.error, energies.total),
        "energy_coverage": _coverages(energies),
        "energy_miscalibration_area": miscalibration_area(energies.error, energies.total),
        "force_flagged_fraction": 1.0 - entry.force_epistemic_max.candidate_coverage,
        "energy_flagged_fraction": 1.0 - entry.energy_epistemic.candidate_coverage,
    }


def _residuals(moments: MixtureMoments, reference: FloatArray, factor: float) -> Residuals:
    return Residuals(
        prediction=moments.mean.numpy().reshape(-1),
        reference=reference.reshape(-1),
        epistemic=factor * moments.epistemic.sqrt().numpy().reshape(-1),
        total=factor * moments.total.sqrt().numpy().reshape(-1),
    )


def _coverages(residuals: Residuals) -> JsonObject:
    return {
        f"{level:.2f}": interval_coverage(residuals.error, residuals.total, level=level)
        for level in COVERAGE_LEVELS
    }


def _rank_correlation(residuals: Residuals) -> float | None:
    """Spearman's rho of |error| and total standard deviation; None if one is constant."""
    error = np.abs(residuals.error)
    if np.ptp(error) == 0.0 or np.ptp(residuals.total) == 0.0:
        return None
    return float(spearmanr(error, residuals.total).statistic)
