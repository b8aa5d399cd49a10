"""Asking a predictor in tests: options, tolerances, and answers that must not be errors."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from posterion.inference.predictor import Predictor
from posterion.structures.evaluation import EvaluationOptions, Precision
from posterion.structures.prediction import Prediction, Uncertainty
from posterion.structures.structure import Structure

# What the service promises for one structure in any two batches, eV/Angstrom.
BATCH_TOLERANCE: dict[Precision, float] = {"float32": 1e-5, "float64": 1e-9}
DOUBLE = EvaluationOptions(precision="float64")
SINGLE = EvaluationOptions()


def predicted(
    predictor: Predictor, structures: Sequence[Structure], options: EvaluationOptions = DOUBLE
) -> list[Prediction]:
    results = predictor.predict(structures, options)
    good = [result for result in results if isinstance(result, Prediction)]
    assert len(good) == len(structures), results
    return good


def uncertainty(prediction: Prediction) -> Uncertainty:
    assert prediction.uncertainty is not None
    return prediction.uncertainty


def moved(
    structure: Structure, positions: np.ndarray[tuple[int, int], np.dtype[np.float64]]
) -> Structure:
    return replace(structure, positions=positions)


def crystal() -> Structure:
    return Structure(
        atomic_numbers=np.array([6, 8]),
        positions=np.array([[0.1, 0.0, 0.0], [1.5, 1.6, 1.4]]),
        cell=np.array([[3.1, 0.0, 0.0], [0.4, 3.0, 0.0], [0.0, 0.3, 3.2]]),
        pbc=(True, True, True),
    )
