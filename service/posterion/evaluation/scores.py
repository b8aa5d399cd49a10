"""The scores of one bank on one set of frames, and of two sets against each other."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from posterion.evaluation.bank_evaluation import Evaluated
from posterion.evaluation.flag_table import FlagTable, flag_table
from posterion.uncertainty.bootstrap import Estimate, WeightedMean, bootstrap
from posterion.uncertainty.calibration import Calibration
from posterion.uncertainty.judged import Judged, judge_atoms, judge_structures
from posterion.uncertainty.residuals import Residuals, energy_residuals, force_residuals
from posterion.uncertainty.score_statistics import (
    Statistics,
    accuracy_statistics,
    calibrated_nll_statistics,
    novelty_statistics,
    predictive_statistics,
    prefixed,
    ranking_statistics,
)

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSettings:
    """What may be chosen about scoring.

    Attributes:
        thresholds: Force errors of an atom above these are to be found, eV/Angstrom,
            ascending; the first and the last also divide the frames of the flag table.
        n_resamples: Resamples behind each interval; 0 = no intervals.
        seed: Of the resamples.
    """

    thresholds: tuple[float, ...] = (0.1, 0.3)
    n_resamples: int = 1000
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judgement:
    """A bank's answers, calibrated, at every level at which they are scored.

    Attributes:
        forces: Components, eV/Angstrom.
        energies: Structures whose composition the training data determine, eV.
        latent: Score of each force component by the latent density, shape ``(n,)``, nats;
            None where the bank has none.
        levels: ``atom``, ``structure_max`` and ``structure_mean``.
        n_atoms: Atoms of each frame, shape ``(n_frames,)``.
        atomic_numbers: Shape ``(n_atoms,)``.
    """

    forces: Residuals
    energies: Residuals
    latent: FloatArray | None
    levels: Mapping[str, Judged]
    n_atoms: NDArray[np.int64]
    atomic_numbers: NDArray[np.int64]

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.n_atoms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Every score of one set of frames.

    Attributes:
        n_frames: Frames judged.
        n_atoms: Atoms of all of them.
        n_samples: Posterior samples evaluated.
        n_energies: Frames whose energy is scored: those of a composition that the training
            data determine.
        elements: Symbol to number of atoms.
        estimates: Score by name: ``forces/...``, ``energy/...``, ``atom/...``,
            ``structure_max/...``, ``structure_mean/...`` and ``element/SYMBOL/...``, as
            `posterion.uncertainty.score_statistics` names them. eV, eV/Angstrom and nats.
        flags: Whether flags mean errors.
    """

    n_frames: int
    n_atoms: int
    n_samples: int
    n_energies: int
    elements: Mapping[str, int]
    estimates: Mapping[str, Estimate]
    flags: FlagTable


def judge(evaluated: Evaluated, calibration: Calibration) -> Judgement:
    """Calibrate a bank's answers and put them beside the references."""
    held_out = evaluated.held_out
    forces = force_residuals(held_out, calibration)
    latent = held_out.latent_scores
    atoms = judge_atoms(forces, latent=latent)
    return Judgement(
        forces=forces,
        energies=energy_residuals(held_out, calibration).of(_determined(evaluated)),
        latent=None if latent is None else np.repeat(latent, 3),
        levels={
            "atom": atoms,
            "structure_max": judge_structures(atoms, by="max"),
            "structure_mean": judge_structures(atoms, by="mean"),
        },
        n_atoms=held_out.n_atoms,
        atomic_numbers=evaluated.atomic_numbers,
    )


def score_frames(evaluated: Evaluated, calibration: Calibration, settings: ScoreSettings) -> Scores:
    """Score a bank's answers.

    Args:
        evaluated: From `evaluate_frames`.
        calibration: The bank's.
        settings: What was chosen.

    Returns:
        The scores with their intervals.
    """
    judgement = judge(evaluated, calibration)
    estimates = bootstrap(
        _statistics(judgement, thresholds=settings.thresholds),
        n_frames=[judgement.n_frames],
        n_resamples=settings.n_resamples,
        seed=settings.seed,
    )
    return Scores(
        n_frames=judgement.n_frames,
        n_atoms=int(judgement.n_atoms.sum()),
        n_samples=evaluated.held_out.n_samples,
        n_energies=judgement.energies.error.size,
        elements={
            chemical_symbols[number]: int(count)
            for number, count in zip(
                *np.unique(judgement.atomic_numbers, return_counts=True), strict=True
            )
        },
        estimates=estimates,
        flags=flag_table(
            evaluated.flags,
            judgement.levels["structure_max"].error,
            low=settings.thresholds[0],
            high=settings.thresholds[-1],
        ),
    )


def novelty(inside: Judgement, outside: Judgement, settings: ScoreSettings) -> dict[str, Estimate]:
    """Score how well each uncertainty tells strange frames from ordinary ones.

    Args:
        inside: Of the ordinary frames.
        outside: Of the frames to be found.
        settings: What was chosen.

    Returns:
        ``atom/auroc/out_of_distribution/epistemic`` and so on.
    """
    statistics: Statistics = {}
    for level, ordinary in inside.levels.items():
        strange = outside.levels[level]
        found = novelty_statistics(ordinary, strange, n_inside=inside.n_frames)
        statistics |= prefixed(level, found)
    return bootstrap(
        statistics,
        n_frames=[inside.n_frames, outside.n_frames],
        n_resamples=settings.n_resamples,
        seed=settings.seed,
    )


def _statistics(judgement: Judgement, *, thresholds: tuple[float, ...]) -> Statistics:
    n_frames, energies = judgement.n_frames, judgement.energies
    found = prefixed(
        "forces",
        _quantity_statistics(judgement.forces, n_frames=n_frames, latent=judgement.latent),
    )
    if energies.error.size:
        found |= prefixed("energy", _quantity_statistics(energies, n_frames=n_frames))
        per_atom = np.abs(energies.error) / judgement.n_atoms[energies.frame]
        found["energy/mae_per_atom"] = WeightedMean(per_atom, energies.frame, n_frames=n_frames)
    for level, judged in judgement.levels.items():
        found |= prefixed(level, ranking_statistics(judged, thresholds=thresholds))
    return found | _element_statistics(judgement)


def _quantity_statistics(
    quantity: Residuals, *, n_frames: int, latent: FloatArray | None = None
) -> Statistics:
    return (
        accuracy_statistics(quantity, n_frames=n_frames)
        | predictive_statistics(quantity, n_frames=n_frames)
        | calibrated_nll_statistics(quantity, n_frames=n_frames, latent=latent)
    )


def _determined(evaluated: Evaluated) -> NDArray[np.bool_]:
    """Frames whose energy has a reference: training saw enough compositions to know it."""
    return np.array(
        [
            not any(f.code == "composition-unseen" and f.severity == "failed" for f in flags)
            for flags in evaluated.flags
        ]
    )


def _element_statistics(judgement: Judgement) -> Statistics:
    """Errors, coverage and sharpness of the force components of each element."""
    numbers = np.repeat(judgement.atomic_numbers, 3)
    found: Statistics = {}
    for number in np.unique(judgement.atomic_numbers):
        mine = judgement.forces.of(numbers == number)
        both = accuracy_statistics(mine, n_frames=judgement.n_frames) | predictive_statistics(
            mine, n_frames=judgement.n_frames
        )
        shown = {name: both[name] for name in ("mae", "rmse", "sharpness", "coverage_90")}
        found |= prefixed(f"element/{chemical_symbols[number]}", shown)
    return found
