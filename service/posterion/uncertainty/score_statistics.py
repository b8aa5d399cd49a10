"""Which scores a bank is given, as statistics that can be bootstrapped together.

Names are stable: they are the keys of reports. ``docs/science/scores.md`` explains each.
"""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posterion.uncertainty.bootstrap import Statistic, WeightedMean
from posterion.uncertainty.judged import Judged
from posterion.uncertainty.proper_scores import (
    gaussian_crps,
    gaussian_log_loss,
    mixture_crps,
    mixture_log_loss,
)
from posterion.uncertainty.ranking import Detection, RankCorrelation
from posterion.uncertainty.recalibration import calibrated_log_loss
from posterion.uncertainty.residuals import Residuals
from posterion.uncertainty.scores import MiscalibrationArea, interval_half_width

FloatArray = NDArray[np.float64]
Statistics = dict[str, Statistic]

COVERAGE_LEVELS: Final = (0.50, 0.68, 0.90, 0.95)

HALVES_SEED: Final = 0
"""Of the halves between which calibrated NLLs are fitted and judged."""


def accuracy_statistics(residuals: Residuals, *, n_frames: int) -> Statistics:
    """``mae`` and ``rmse``, in the unit of the quantity."""
    error = residuals.error
    return {
        "mae": WeightedMean(np.abs(error), residuals.frame, n_frames=n_frames),
        "rmse": WeightedMean(error**2, residuals.frame, n_frames=n_frames, transform=sqrt),
    }


def predictive_statistics(residuals: Residuals, *, n_frames: int) -> Statistics:
    """How good the predictive distribution is: NLL, CRPS, coverage, sharpness.

    Args:
        residuals: One calibrated quantity.
        n_frames: Number of frames.

    Returns:
        NLL in nats, CRPS and sharpness in the unit of the quantity, fractions otherwise.
    """
    error, total, frame = residuals.error, residuals.total, residuals.frame
    values = {
        "nll_gaussian": gaussian_log_loss(error, total),
        "nll_mixture": mixture_log_loss(residuals.sample_residuals, residuals.sample_std),
        "crps_gaussian": gaussian_crps(error, total),
        "crps_mixture": mixture_crps(residuals.sample_residuals, residuals.sample_std),
    }
    for level in COVERAGE_LEVELS:
        inside = np.abs(error) <= interval_half_width(level) * total
        values[f"coverage_{100 * level:.0f}"] = inside.astype(np.float64)
    return {
        **{name: WeightedMean(one, frame, n_frames=n_frames) for name, one in values.items()},
        "sharpness": WeightedMean(total**2, frame, n_frames=n_frames, transform=sqrt),
        "miscalibration_area": MiscalibrationArea(error, total, frame),
        "spearman": RankCorrelation(total, np.abs(error), frame),
    }


def calibrated_nll_statistics(
    residuals: Residuals, *, n_frames: int, latent: FloatArray | None = None
) -> Statistics:
    """``cnll_*``: what each uncertainty could do with a free scale and floor, in nats.

    Args:
        residuals: One quantity.
        n_frames: Number of frames.
        latent: Score of each value by the latent density, if there is one, shape ``(n,)``.

    Returns:
        Nothing for fewer than two frames, or where nothing is wrong anywhere.
    """
    if np.unique(residuals.frame).size < 2 or not np.any(residuals.error):
        return {}
    uncertainties = {
        "epistemic": residuals.epistemic**2,
        "total": residuals.total**2,
        "aleatoric": residuals.aleatoric**2,
    }
    if latent is not None:
        uncertainties["latent"] = latent
    return {
        f"cnll_{name}": WeightedMean(
            calibrated_log_loss(one, residuals.error, residuals.frame, seed=HALVES_SEED),
            residuals.frame,
            n_frames=n_frames,
        )
        for name, one in uncertainties.items()
    }


def ranking_statistics(judged: Judged, *, thresholds: Sequence[float]) -> Statistics:
    """Does each uncertainty rank the errors, and find those above a threshold?

    Args:
        judged: Atoms or structures.
        thresholds: Errors above these are to be found, eV/Angstrom.

    Returns:
        ``spearman/U``, ``auroc/error_above_X/U`` and ``auprc/error_above_X/U`` for every
        uncertainty U, and ``fraction/error_above_X``, which AUPRC has without skill.
    """
    found: Statistics = {
        f"spearman/{name}": RankCorrelation(values, judged.error, judged.frame)
        for name, values in judged.uncertainty.items()
    }
    for threshold in thresholds:
        found |= _detection_statistics(
            judged.uncertainty,
            judged.error > threshold,
            judged.frame,
            what=f"error_above_{threshold:g}",
        )
    return found


def novelty_statistics(inside: Judged, outside: Judged, *, n_inside: int) -> Statistics:
    """Does each uncertainty tell one set of structures from another?

    Args:
        inside: Of the ordinary frames.
        outside: Of the frames to be found.
        n_inside: Number of ordinary frames; weights run over them, then over the others.

    Returns:
        ``auroc/out_of_distribution/U`` and so on, as `ranking_statistics`.
    """
    positive = np.repeat([False, True], [inside.error.size, outside.error.size])
    frame = np.concatenate([inside.frame, n_inside + outside.frame])
    both = {
        name: np.concatenate([values, outside.uncertainty[name]])
        for name, values in inside.uncertainty.items()
        if name in outside.uncertainty
    }
    return _detection_statistics(both, positive, frame, what="out_of_distribution")


def prefixed(prefix: str, statistics: Statistics) -> Statistics:
    """The same statistics under ``prefix/name``."""
    return {f"{prefix}/{name}": statistic for name, statistic in statistics.items()}


def _detection_statistics(
    uncertainty: Mapping[str, FloatArray],
    positive: NDArray[np.bool_],
    frame: NDArray[np.int64],
    *,
    what: str,
) -> Statistics:
    detections = {name: Detection(one, positive, frame) for name, one in uncertainty.items()}
    any_detection = next(iter(detections.values()))
    return {
        f"fraction/{what}": any_detection.positive_fraction,
        **{f"auroc/{what}/{name}": one.roc_area for name, one in detections.items()},
        **{f"auprc/{what}/{name}": one.average_precision for name, one in detections.items()},
    }
