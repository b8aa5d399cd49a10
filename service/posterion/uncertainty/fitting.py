"""How a calibration is fitted on held-out frames and measured on further ones.

Scores are conformal (see `conformal`): the factor of a quantity is the bound of
|residual| / total over its values, divided by the z of the level. Energies give one score
per frame. Forces give one per component; components of one frame depend on each other, so
their rank is exact for pooled components, not for frames.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from posterion.uncertainty.calibration import (
    FEWEST_SAMPLES,
    Calibration,
    Evidence,
    FlagThreshold,
    IntervalCalibration,
    SampleCountCalibration,
)
from posterion.uncertainty.conformal import conformal_bound, scores_needed
from posterion.uncertainty.held_out import HeldOut
from posterion.uncertainty.mixture import MixtureMoments
from posterion.uncertainty.scores import interval_coverage, interval_half_width

FloatArray = NDArray[np.float64]

FLAG_LEVEL: Final = 0.975
"""One ordinary structure in forty may be called a candidate.

At 0.99 the bound is the largest of a hundred frames: it rests on a single odd one. On
ethanol that doubled it, and stretched bonds passed below.
"""

FAILED_MULTIPLE: Final = 3.0
"""DP-GEN's trust bounds, between which a structure is a candidate, lie as far apart."""


def fit_calibration(
    held_out: HeldOut, *, level: float = 0.90, dataset_digest: str, date: str
) -> Calibration:
    """Fit factors and thresholds for every number of samples from two to all.

    Args:
        held_out: Predictions and references of frames that were not trained on.
        level: Coverage of the interval, between 0 and 1.
        dataset_digest: ``sha256:<hex>`` of the frames.
        date: Day of the fit, ISO 8601.

    Returns:
        The calibration; its coverages are those of the fitted frames themselves until
        `with_measured_coverage` replaces them.

    Raises:
        ValueError: If there are fewer than two samples, or too few frames for the level.
    """
    needed = scores_needed(level)
    if held_out.n_structures < needed:
        raise ValueError(
            f"a {level:.0%} interval needs at least {needed} held-out frames, "
            f"got {held_out.n_structures}"
        )
    if held_out.n_samples < FEWEST_SAMPLES:
        raise ValueError(f"a spread needs at least two samples, got {held_out.n_samples}")
    evidence = _evidence(held_out, dataset_digest)
    return Calibration(
        level=level,
        flag_level=FLAG_LEVEL,
        failed_multiple=FAILED_MULTIPLE,
        date=date,
        fitted_on=evidence,
        measured_on=evidence,
        entries=tuple(
            _fit_entry(held_out, n_samples, level=level)
            for n_samples in range(FEWEST_SAMPLES, held_out.n_samples + 1)
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
        failed_multiple=calibration.failed_multiple,
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


def _fit_entry(held_out: HeldOut, n_samples: int, *, level: float) -> SampleCountCalibration:
    forces, energies = held_out.force_moments(n_samples), held_out.energy_moments(n_samples)
    force_factor = _factor(forces, held_out.force_reference, level=level)
    energy_factor = _factor(energies, held_out.energy_reference, level=level)
    force_bound = conformal_bound(force_factor * _force_metric(held_out, forces), level=FLAG_LEVEL)
    energy_bound = conformal_bound(
        energy_factor * _energy_metric(held_out, energies), level=FLAG_LEVEL
    )
    unmeasured = SampleCountCalibration(
        n_samples=n_samples,
        forces=IntervalCalibration(factor=force_factor, coverage=0.0),
        energy=IntervalCalibration(factor=energy_factor, coverage=0.0),
        force_epistemic_max=FlagThreshold(
            metric="force_epistemic_max",
            unit="eV/angstrom",
            per="structure",
            candidate=force_bound.value,
            failed=FAILED_MULTIPLE * force_bound.value,
            level=force_bound.level,
            candidate_coverage=0.0,
            failed_coverage=0.0,
        ),
        energy_epistemic=FlagThreshold(
            metric="energy_epistemic",
            unit="eV",
            per="atom",
            candidate=energy_bound.value,
            failed=FAILED_MULTIPLE * energy_bound.value,
            level=energy_bound.level,
            candidate_coverage=0.0,
            failed_coverage=0.0,
        ),
    )
    return _measure(unmeasured, held_out, level=level)


def _measure(
    entry: SampleCountCalibration, frames: HeldOut, *, level: float
) -> SampleCountCalibration:
    forces, energies = frames.force_moments(entry.n_samples), frames.energy_moments(entry.n_samples)
    force_metric = entry.forces.factor * _force_metric(frames, forces)
    energy_metric = entry.energy.factor * _energy_metric(frames, energies)
    return SampleCountCalibration(
        n_samples=entry.n_samples,
        forces=_covered(entry.forces, forces, frames.force_reference, level=level),
        energy=_covered(entry.energy, energies, frames.energy_reference, level=level),
        force_epistemic_max=_trusted(entry.force_epistemic_max, force_metric),
        energy_epistemic=_trusted(entry.energy_epistemic, energy_metric),
    )


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


def _trusted(threshold: FlagThreshold, metric: FloatArray) -> FlagThreshold:
    return threshold.model_copy(
        update={
            "candidate_coverage": float(np.mean(metric <= threshold.candidate)),
            "failed_coverage": float(np.mean(metric <= threshold.failed)),
        }
    )


def _force_metric(frames: HeldOut, forces: MixtureMoments) -> FloatArray:
    """Uncalibrated largest e_i of each frame, shape ``(n_structures,)``, eV/Angstrom."""
    per_atom = np.sqrt(np.mean(_array(forces.epistemic), axis=1))
    return frames.largest_per_structure(per_atom)


def _energy_metric(frames: HeldOut, energies: MixtureMoments) -> FloatArray:
    """Uncalibrated epistemic energy per atom, shape ``(n_structures,)``, eV."""
    per_atom: FloatArray = np.sqrt(_array(energies.epistemic)) / frames.n_atoms
    return per_atom


def _total_std(moments: MixtureMoments) -> FloatArray:
    std = np.sqrt(_array(moments.total))
    if not np.all(std > 0.0):
        raise ValueError("every prediction needs a positive standard deviation, one is zero")
    return std


def _array(tensor: Tensor) -> FloatArray:
    array: FloatArray = tensor.numpy()
    return array
