"""How a calibration is fitted on held-out frames and measured on further ones.

Scores are conformal (see `conformal`): the factor of a quantity is the bound of
|residual| / total over its values, divided by the z of the level. Energies give one score
per frame. Forces give one per component; components of one frame depend on each other, so
their rank is exact for pooled components, not for frames.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from posterion.uncertainty.calibration import (
    FEWEST_SAMPLES,
    Calibration,
    ErrorTarget,
    Evidence,
    FlagThreshold,
    IntervalCalibration,
    LatentForce,
    SampleCountCalibration,
)
from posterion.uncertainty.conformal import conformal_bound, scores_needed
from posterion.uncertainty.held_out import HeldOut
from posterion.uncertainty.mixture import MixtureMoments
from posterion.uncertainty.scores import interval_coverage, interval_half_width
from posterion.uncertainty.thresholds import (
    FAILED_MULTIPLE,
    fit_threshold,
    measured_threshold,
    metric_errors,
)

FloatArray = NDArray[np.float64]


def fit_calibration(
    held_out: HeldOut,
    *,
    level: float = 0.90,
    target: ErrorTarget | None = None,
    fewest_samples: int = FEWEST_SAMPLES,
    latent_force: LatentForce | None = None,
    dataset_digest: str,
    date: str,
) -> Calibration:
    """Fit factors and thresholds for every number of samples, from the fewest to all.

    Args:
        held_out: Predictions and references of frames that were not trained on.
        level: Coverage of the interval, between 0 and 1.
        target: What an answer without a flag promises; None = the default target.
        fewest_samples: 1 where a single sample states its epistemic part, or where the method
            defines that part as zero; else 2.
        latent_force: What the predictions' own epistemic part was made with, if it comes from
            the latent density.
        dataset_digest: ``sha256:<hex>`` of the frames.
        date: Day of the fit, ISO 8601.

    Returns:
        The calibration; its coverages are those of the fitted frames themselves until
        `with_measured_coverage` replaces them.

    Raises:
        ValueError: If there are too few samples, or too few frames for a level.
    """
    target = ErrorTarget() if target is None else target
    needed = scores_needed(max(level, target.confidence))
    if held_out.n_structures < needed:
        raise ValueError(
            f"an interval of {level:.0%} and a confidence of {target.confidence:.0%} need at "
            f"least {needed} held-out frames, got {held_out.n_structures}"
        )
    if held_out.n_samples < fewest_samples:
        raise ValueError(f"a spread needs at least two samples, got {held_out.n_samples}")
    evidence = _evidence(held_out, dataset_digest)
    return Calibration(
        level=level,
        target=target,
        failed_multiple=FAILED_MULTIPLE,
        latent_force=latent_force,
        date=date,
        fitted_on=evidence,
        measured_on=evidence,
        entries=tuple(
            _fit_entry(held_out, n_samples, level=level, target=target)
            for n_samples in range(fewest_samples, held_out.n_samples + 1)
        ),
    )


def with_measured_coverage(
    calibration: Calibration, report: HeldOut, *, dataset_digest: str
) -> Calibration:
    """Replace every coverage by what frames outside training and fit say.

    Args:
        calibration: The fitted calibration; factors and thresholds stay.
        report: Predictions of the same bank for further frames.
        dataset_digest: ``sha256:<hex>`` of these frames.

    Returns:
        The calibration with new coverages, and so a new identity.

    Raises:
        ValueError: If the report has another number of samples.
    """
    if report.n_samples != calibration.n_samples:
        raise ValueError(
            f"the calibration is of {calibration.n_samples} samples, "
            f"the report of {report.n_samples}"
        )
    return Calibration(
        method=calibration.method,
        level=calibration.level,
        flag_level=calibration.flag_level,
        target=calibration.target,
        failed_multiple=calibration.failed_multiple,
        latent_force=calibration.latent_force,
        date=calibration.date,
        fitted_on=calibration.fitted_on,
        measured_on=_evidence(report, dataset_digest),
        entries=tuple(
            _measure(entry, report, level=calibration.level) for entry in calibration.entries
        ),
    )


def _evidence(held_out: HeldOut, dataset_digest: str) -> Evidence:
    return Evidence(
        dataset_digest=dataset_digest,
        n_frames=held_out.n_structures,
        n_force_components=held_out.force_reference.size,
    )


def _fit_entry(
    held_out: HeldOut, n_samples: int, *, level: float, target: ErrorTarget
) -> SampleCountCalibration:
    forces, energies = held_out.force_moments(n_samples), held_out.energy_moments(n_samples)
    factors = SampleCountCalibration(
        n_samples=n_samples,
        forces=_fit_interval(forces, held_out.force_reference, level=level),
        energy=_fit_interval(energies, held_out.energy_reference, level=level),
    )
    fitted: dict[str, FlagThreshold | None] = {
        metric: fit_threshold(metric, judged, target)
        for metric, judged in metric_errors(held_out, factors).items()
    }
    return factors.model_copy(update=fitted)


def _measure(
    entry: SampleCountCalibration, frames: HeldOut, *, level: float
) -> SampleCountCalibration:
    forces, energies = frames.force_moments(entry.n_samples), frames.energy_moments(entry.n_samples)
    judged = metric_errors(frames, entry)
    thresholds: dict[str, FlagThreshold] = {
        metric: measured_threshold(threshold, judged[metric])
        for metric, threshold in entry.thresholds.items()
    }
    intervals = {
        "forces": _covered(entry.forces, forces, frames.force_reference, level=level),
        "energy": _covered(entry.energy, energies, frames.energy_reference, level=level),
    }
    return entry.model_copy(update={**intervals, **thresholds})


def _fit_interval(
    moments: MixtureMoments, reference: FloatArray, *, level: float
) -> IntervalCalibration:
    interval = IntervalCalibration(factor=_factor(moments, reference, level=level), coverage=0.0)
    return _covered(interval, moments, reference, level=level)


def _factor(moments: MixtureMoments, reference: FloatArray, *, level: float) -> float:
    scores = np.abs(_array(moments.mean) - reference) / _total_std(moments)
    return conformal_bound(scores, level=level).value / interval_half_width(level)


def _covered(
    interval: IntervalCalibration, moments: MixtureMoments, reference: FloatArray, *, level: float
) -> IntervalCalibration:
    residuals = _array(moments.mean) - reference
    std = interval.factor * _total_std(moments)
    coverage = interval_coverage(residuals, std, level=level)
    return interval.model_copy(update={"coverage": coverage})


def _total_std(moments: MixtureMoments) -> FloatArray:
    std = np.sqrt(_array(moments.total))
    if not np.all(std > 0.0):
        raise ValueError("every prediction needs a positive standard deviation, one is zero")
    return std


def _array(tensor: Tensor) -> FloatArray:
    array: FloatArray = tensor.numpy()
    return array
