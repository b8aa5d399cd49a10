"""From which spread on the stated error can no longer be promised.

For every held-out frame we know the largest error and what a flag would judge: the calibrated
spread, or the score of the latent density. The promise is kept below the larger of two places.
Where calibration frames lie, they say so themselves: up to some metric, errors above the target
are rarer than promised. Beyond, the conformal bound of error over metric is *extrapolated in
proportion*, which rests on errors growing no faster than the metric. The ratio alone would not
do: where a metric hardly varies with the error, as a spread far below it, the smallest metrics
decide the ratio, and everything else is flagged. Aleatoric noise is no metric: it is no larger
on unknown molecules.
"""

from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from posterion.uncertainty.calibration import (
    ErrorTarget,
    FlagThreshold,
    Metric,
    SampleCountCalibration,
)
from posterion.uncertainty.conformal import conformal_bound
from posterion.uncertainty.held_out import HeldOut
from posterion.uncertainty.latent_density import score_of_structures

FloatArray = NDArray[np.float64]

FAILED_MULTIPLE: Final = 3.0
"""``failed`` stands for three times the target: DP-GEN's trust bounds lie as far apart."""


WELL_SEEN: Final = 0.98
"""Share of the calibration frames below which there are enough of them to judge by."""

_ROUNDING: Final = 1e-9


class MetricErrors(NamedTuple):
    """One metric and the error it stands for, of every frame.

    Attributes:
        values: The metric, shape ``(n_structures,)``.
        errors: What it warns of, shape ``(n_structures,)``.
    """

    values: FloatArray
    errors: FloatArray


def metric_errors(frames: HeldOut, entry: SampleCountCalibration) -> dict[Metric, MetricErrors]:
    """Every metric of the frames, with the error it stands for.

    Args:
        frames: Predictions and references.
        entry: Its factors calibrate the spreads.

    Returns:
        The metrics; spreads in the unit of their quantity, energies per atom.
    """
    forces = frames.force_moments(entry.n_samples)
    energies = frames.energy_moments(entry.n_samples)
    per_atom = np.sqrt(np.mean(forces.epistemic.numpy(), axis=1))
    force_errors = frames.largest_per_structure(frames.force_errors(entry.n_samples))
    energy_errors = np.abs(energies.mean.numpy() - frames.energy_reference) / frames.n_atoms
    energy_spread = np.sqrt(energies.epistemic.numpy()) / frames.n_atoms
    found: dict[Metric, MetricErrors] = {
        "force_epistemic_max": MetricErrors(
            entry.forces.factor * frames.largest_per_structure(per_atom), force_errors
        ),
        "energy_epistemic": MetricErrors(entry.energy.factor * energy_spread, energy_errors),
    }
    if frames.latent_scores is not None:
        largest = score_of_structures(frames.latent_scores, frames.n_atoms, by="max")
        found["latent_score_max"] = MetricErrors(largest, force_errors)
    return found


def fit_threshold(metric: Metric, of: MetricErrors, target: ErrorTarget) -> FlagThreshold | None:
    """Find up to where an error above the target is rarer than promised.

    Args:
        metric: Name of the metric.
        of: Its values and errors on the calibration frames.
        target: What is to be promised.

    Returns:
        The threshold, its coverages measured on the same frames; None where no multiple of
        the metric bounds the error, as where the method's spread is zero by definition.
    """
    bound = conformal_bound(_ratios(of), level=target.confidence)
    if not 0.0 < bound.value < np.inf:
        return None
    wanted = target.energy_error if metric == "energy_epistemic" else target.force_error
    candidate = max(wanted / bound.value, _shown(of, wanted, confidence=target.confidence))
    unmeasured = FlagThreshold(
        metric=metric,
        unit=_unit(metric),
        per="atom" if metric == "energy_epistemic" else "structure",
        candidate=candidate,
        failed=FAILED_MULTIPLE * candidate,
        level=bound.level,
        candidate_coverage=0.0,
        failed_coverage=0.0,
        error_per_unit=wanted / candidate,
    )
    return measured_threshold(unmeasured, of)


def measured_threshold(threshold: FlagThreshold, of: MetricErrors) -> FlagThreshold:
    """The threshold with every coverage measured on other frames.

    Args:
        threshold: Its bounds stay.
        of: Values and errors of the frames to measure on.

    Returns:
        A new threshold.
    """
    passed = of.values <= threshold.candidate
    update: dict[str, float | None] = {
        "candidate_coverage": float(np.mean(passed)),
        "failed_coverage": float(np.mean(of.values <= threshold.failed)),
    }
    if threshold.error_per_unit is not None:
        target = threshold.error_per_unit * threshold.candidate
        kept = of.errors[passed] <= target * (1.0 + _ROUNDING)
        update["error_coverage"] = float(np.mean(kept)) if passed.any() else None
    return threshold.model_copy(update=update)


def flagged(frames: HeldOut, entry: SampleCountCalibration) -> NDArray[np.bool_]:
    """Which frames exceed a ``candidate`` bound of any metric, shape ``(n_structures,)``."""
    found = np.zeros(frames.n_structures, dtype=np.bool_)
    errors = metric_errors(frames, entry)
    for metric, threshold in entry.thresholds.items():
        found |= errors[metric].values > threshold.candidate
    return found


def _shown(of: MetricErrors, target: float, *, confidence: float) -> float:
    """Largest metric up to which calibration frames err above the target too rarely to matter.

    The rate of such errors is taken to grow with the metric (isotonic regression). The few
    frames with the largest metrics are too few to say anything.
    """
    order = np.argsort(of.values, kind="stable")
    exceeds = (of.errors > target)[order].astype(np.float64)
    rates = IsotonicRegression().fit_transform(of.values[order], exceeds)
    rare = of.values[order][rates <= 1.0 - confidence]
    if not rare.size:
        return 0.0
    return float(min(rare[-1], np.quantile(of.values, WELL_SEEN)))


def _ratios(of: MetricErrors) -> FloatArray:
    """Error per unit of the metric; infinite where a frame errs without any spread."""
    ratios = np.where(of.errors > 0.0, np.inf, 0.0)
    np.divide(of.errors, of.values, out=ratios, where=of.values > 0.0)
    return ratios


def _unit(metric: Metric) -> Literal["eV/angstrom", "eV", "nat"]:
    units: dict[Metric, Literal["eV/angstrom", "eV", "nat"]] = {
        "force_epistemic_max": "eV/angstrom",
        "energy_epistemic": "eV",
        "latent_score_max": "nat",
    }
    return units[metric]
