"""Which warnings an answer carries, each with the number that raised it.

Rules on the spread compare calibrated metrics with calibrated thresholds. Rules on the
structure compare it with the training domain; they hold where all samples err together.
Aleatoric noise never raises a flag: it is no smaller on unknown molecules.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posterion.graph.batch import Graph
from posterion.structures.prediction import Flag, FlagCode, Uncertainty
from posterion.uncertainty.calibration import Calibration, FlagThreshold
from posterion.uncertainty.domain import TrainingDomain, isolated_atoms

CONTACT_CANDIDATE: Final = 0.95
"""Fraction of the shortest distance seen in training below which a contact is close."""

CONTACT_FAILED: Final = 0.80
"""Fraction below which the repulsion is extrapolated too far to be used."""

_NOBODY: Final = np.empty(0)
"""Values of atoms where a flag concerns the whole structure."""


def spread_flags(
    uncertainty: Uncertainty, *, n_atoms: int, n_samples: int, calibration: Calibration
) -> tuple[Flag, ...]:
    """Judge the calibrated epistemic spread of one structure.

    Args:
        uncertainty: Calibrated with the factors of the same entry.
        n_atoms: Atoms of the structure.
        n_samples: Posterior samples that were evaluated.
        calibration: The bank's calibration.

    Returns:
        At most one flag per code.
    """
    entry = calibration.for_samples(n_samples)
    per_atom = uncertainty.forces_per_atom
    found = (
        _threshold_flag(
            "force-epistemic-high",
            entry.force_epistemic_max,
            value=float(per_atom.max()),
            per_atom=per_atom,
            calibration_id=calibration.identity,
        ),
        _threshold_flag(
            "energy-epistemic-high",
            entry.energy_epistemic,
            value=uncertainty.energy_epistemic,
            per_atom=_NOBODY,
            n_atoms=n_atoms,
            calibration_id=calibration.identity,
        ),
    )
    return tuple(flag for flag in found if flag is not None)


def undecided(
    uncertainty: Uncertainty,
    *,
    n_atoms: int,
    n_samples: int,
    calibration: Calibration,
    band: float,
) -> bool:
    """Whether the spread is so near a threshold that more samples could change a flag.

    Args:
        uncertainty: Calibrated with the factors of the same entry.
        n_atoms: Atoms of the structure.
        n_samples: Posterior samples that were evaluated.
        calibration: The bank's calibration.
        band: Largest distance that counts as near, in natural logarithms.
    """
    entry = calibration.for_samples(n_samples)
    pairs = (
        (entry.force_epistemic_max, uncertainty.forces_max),
        (entry.energy_epistemic, uncertainty.energy_epistemic),
    )
    return any(
        value > 0.0 and abs(math.log(value / (_factor(threshold, n_atoms) * bound))) < band
        for threshold, value in pairs
        if threshold is not None
        for bound in (threshold.candidate, threshold.failed)
        if bound > 0.0
    )


def latent_flags(
    scores: NDArray[np.float64], *, n_samples: int, calibration: Calibration
) -> tuple[Flag, ...]:
    """Judge how common the environments of a structure were in training.

    Args:
        scores: Of its atoms by the bank's latent density, shape ``(n_atoms,)``, nats.
        n_samples: Posterior samples that were evaluated. A single one of a bank whose spread
            needs two is judged by the threshold of two: the score is of one sample anyway.
        calibration: The bank's calibration.

    Returns:
        At most one flag.
    """
    entry = calibration.for_samples(max(n_samples, calibration.fewest_samples))
    flag = _threshold_flag(
        "latent-density-low",
        entry.latent_score_max,
        value=float(scores.max()),
        per_atom=scores,
        calibration_id=calibration.identity,
    )
    return () if flag is None else (flag,)


def domain_flags(graph: Graph, domain: TrainingDomain) -> tuple[Flag, ...]:
    """Judge one structure by what the bank was trained on.

    Args:
        graph: The structure with its edges.
        domain: The bank's training domain.

    Returns:
        At most one flag per code.
    """
    found = (
        _close_contact(graph, domain),
        _isolated_atom(graph, domain),
        _composition_unseen(graph, domain),
    )
    return tuple(flag for flag in found if flag is not None)


def _threshold_flag(
    code: FlagCode,
    threshold: FlagThreshold | None,
    *,
    value: float,
    per_atom: NDArray[np.float64],
    calibration_id: str,
    n_atoms: int = 1,
) -> Flag | None:
    if threshold is None:
        return None
    factor = _factor(threshold, n_atoms)
    if value <= factor * threshold.candidate:
        return None
    failed = value > factor * threshold.failed
    bound = factor * (threshold.failed if failed else threshold.candidate)
    return Flag(
        code=code,
        severity="failed" if failed else "candidate",
        atoms=tuple(np.flatnonzero(per_atom > bound).tolist()),
        metric=threshold.metric,
        value=value,
        threshold=bound,
        unit=threshold.unit,
        threshold_source=threshold.source,
        coverage=threshold.failed_coverage if failed else threshold.candidate_coverage,
        calibration_id=calibration_id,
    )


def _factor(threshold: FlagThreshold, n_atoms: int) -> int:
    """What the bounds of a threshold are multiplied by."""
    return 1 if threshold.per == "structure" else n_atoms


def _close_contact(graph: Graph, domain: TrainingDomain) -> Flag | None:
    """Pairs below the shortest distance seen for their elements, less a margin."""
    if graph.n_edges == 0:
        return None
    numbers = graph.structure.atomic_numbers[graph.edge_index]
    seen = domain.shortest_seen(numbers[0], numbers[1])
    ratio = graph.distances / seen
    worst = int(ratio.argmin())
    if ratio[worst] >= CONTACT_CANDIDATE:
        return None
    failed = ratio[worst] < CONTACT_FAILED
    fraction = CONTACT_FAILED if failed else CONTACT_CANDIDATE
    return Flag(
        code="close-contact",
        severity="failed" if failed else "candidate",
        atoms=tuple(np.unique(graph.edge_index[:, ratio < fraction]).tolist()),
        metric="pair_distance",
        value=float(graph.distances[worst]),
        threshold=float(fraction * seen[worst]),
        unit="angstrom",
        threshold_source="training-domain",
        coverage=None,
        calibration_id=None,
    )


def _isolated_atom(graph: Graph, domain: TrainingDomain) -> Flag | None:
    """Atoms nobody interacts with: zero force and zero spread whatever the truth is.

    A single atom of an element that training saw alone is what training saw.
    """
    isolated = isolated_atoms(graph)
    if isolated.size == 0:
        return None
    numbers = graph.structure.atomic_numbers[isolated]
    seen_alone = bool(np.isin(numbers, domain.isolated_elements).all())
    if seen_alone and graph.n_atoms == 1:
        return None
    return Flag(
        code="isolated-atom",
        severity="candidate" if seen_alone else "failed",
        atoms=tuple(isolated.tolist()),
        metric="n_neighbors",
        value=0.0,
        threshold=1.0,
        unit="1",
        threshold_source="training-domain",
        coverage=None,
        calibration_id=None,
    )


def _composition_unseen(graph: Graph, domain: TrainingDomain) -> Flag | None:
    """Compositions whose energy reference the training data leave undetermined.

    A new composition that combines those seen is mere novelty; its energy has a spread like
    any other.
    """
    if domain.composition_determined(graph.structure):
        return None
    return Flag(
        code="composition-unseen",
        severity="failed",
        atoms=(),
        metric="composition_distance",
        value=domain.composition_distance(graph.structure),
        threshold=0.0,
        unit="1",
        threshold_source="training-domain",
        coverage=None,
        calibration_id=None,
    )
