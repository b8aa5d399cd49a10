"""How many samples a structure needs: few, unless these leave a flag open.

Samples are evaluated in rungs of 4, 8, 16, ... Thresholds are calibrated for every number of
samples, so each rung can judge; a structure whose spread lies near a threshold goes on to the
next. The mean over more samples is another energy surface, so structures of one trajectory
should not be answered this way: it is made for screening.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posterion.errors import PosterionError
from posterion.graph.batch import Graph, collate
from posterion.inference.answers import Answers
from posterion.inference.bank import BankEngine
from posterion.inference.reduction import Reduction, calibrated_uncertainties
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.prediction import Prediction
from posterion.uncertainty.flags import latent_flags, undecided

FIRST_RUNG: Final = 4
BAND: Final = 0.5
"""A spread of four samples within a factor of e^0.5 of a threshold is near it: the standard
deviation of so few is known to some 40 %."""


def rungs(n_samples: int, *, fewest: int) -> list[int]:
    """Numbers of samples after which a structure may be done.

    Args:
        n_samples: Samples of the bank.
        fewest: Fewest samples that the calibration can judge.

    Returns:
        Ascending; the last is ``n_samples``.
    """
    found = []
    rung = max(FIRST_RUNG, fewest)
    while rung < n_samples:
        found.append(rung)
        rung *= 2
    return [*found, n_samples]


def evaluate_adaptively(
    engine: BankEngine,
    graphs: Sequence[Graph],
    options: EvaluationOptions,
    reduction: Reduction,
    *,
    stress: bool,
) -> list[Prediction | PosterionError]:
    """Evaluate prepared structures, each with as many samples as its flags need.

    Args:
        engine: Of the bank.
        graphs: From the predictor's ``prepare``.
        options: Shared by all of them.
        reduction: Of the bank.
        stress: Whether to differentiate with respect to strain.

    Returns:
        One prediction per graph, in order; its ``n_samples`` says how many were evaluated.
    """
    known: list[Answers] = []
    waiting = list(range(len(graphs)))
    first = 0
    for rung in rungs(engine.n_samples, fewest=reduction.calibration.fewest_samples):
        some = [graphs[index] for index in waiting]
        batch = collate(some, dtype=engine.dtype, device=engine.device)
        outputs = engine.evaluate(batch, n_samples=rung, stress=stress, first=first)
        if first == 0:
            scores = reduction.scores(outputs, some)
            known = reduction.answers(outputs, some, scores).apart(some)
        else:
            scores = _scores([known[index] for index in waiting])
            more = reduction.answers(outputs, some, scores).apart(some)
            for index, answers in zip(waiting, more, strict=True):
                known[index] = known[index].joined(answers)
        if rung == engine.n_samples:
            break
        waiting = [index for index in waiting if _open(known[index], graphs[index], reduction)]
        if not waiting:
            break
        first = rung
    return [
        reduction.predict_one(answers, graph, options)
        for answers, graph in zip(known, graphs, strict=True)
    ]


def _scores(known: Sequence[Answers]) -> NDArray[np.float64] | None:
    """Those of the first samples, which are the structures' for good."""
    scores = [answers.latent_scores for answers in known if answers.latent_scores is not None]
    return np.concatenate(scores) if scores else None


def band(n_samples: int) -> float:
    """How near a threshold leaves a flag open, in natural logarithms of the spread.

    The standard deviation of K samples is known to 1 / sqrt(2 (K - 1)) of itself.
    """
    return BAND * math.sqrt((FIRST_RUNG - 1) / max(1, n_samples - 1))


def _open(answers: Answers, graph: Graph, reduction: Reduction) -> bool:
    n_samples = len(answers.energies)
    if not answers.finite or n_samples < reduction.calibration.fewest_samples:
        return False
    if answers.latent_scores is not None:
        # The score is the first sample's, but its threshold depends on their number.
        here, at_last = (
            latent_flags(answers.latent_scores, n_samples=n, calibration=reduction.calibration)
            for n in (n_samples, reduction.calibration.n_samples)
        )
        if [flag.severity for flag in here] != [flag.severity for flag in at_last]:
            return True
    (uncertainty,) = calibrated_uncertainties(answers, EvaluationOptions(), reduction.calibration)
    return undecided(
        uncertainty,
        n_atoms=graph.n_atoms,
        n_samples=n_samples,
        calibration=reduction.calibration,
        band=band(n_samples),
    )
