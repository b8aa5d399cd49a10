"""Whether a freshly loaded bank predicts, before any caller sees it.

A golden structure made of every element of the bank is evaluated by both engines. They
share the samples but neither code path nor precision, so that agreement shows a sound bank
on this device. The same evaluations warm the engines up.
"""

from typing import Final, Protocol

import numpy as np

from posterion.errors import BankInvalid, PosterionError
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.prediction import Prediction
from posterion.structures.structure import Structure

SPACING_ANGSTROM: Final = 1.4
RELATIVE_TOLERANCE: Final = 1e-3
"""Single against double precision: rounding of 1e-7, amplified by some thousand edge terms."""


class Predicts(Protocol):
    """The part of a predictor that the check needs."""

    def predict(
        self, structures: list[Structure], options: EvaluationOptions
    ) -> list[Prediction | PosterionError]:
        """Evaluate structures."""
        ...


def golden_structure(elements: tuple[int, ...]) -> Structure:
    """A zigzag chain that holds every element at least once, three atoms or more.

    Args:
        elements: Atomic numbers.

    Returns:
        A molecule in which every atom has neighbours.
    """
    numbers = np.resize(np.array(elements, dtype=np.int64), max(3, len(elements)))
    steps = np.arange(len(numbers), dtype=np.float64)
    positions = np.stack(
        [
            SPACING_ANGSTROM * steps * np.cos(0.6),
            SPACING_ANGSTROM * (steps % 2) * np.sin(0.6),
            np.zeros_like(steps),
        ],
        axis=1,
    )
    return Structure(atomic_numbers=numbers, positions=positions, cell=None)


def check_predictions(predictor: Predicts, elements: tuple[int, ...]) -> None:
    """Evaluate the golden structure with both engines and compare.

    Args:
        predictor: The loaded bank.
        elements: Atomic numbers it knows.

    Raises:
        BankInvalid: If an engine fails or they disagree.
    """
    structure = golden_structure(elements)
    single = _predict(predictor, structure, EvaluationOptions(precision="float32"))
    double = _predict(predictor, structure, EvaluationOptions(precision="float64"))
    scale = max(1.0, float(np.abs(double.forces).max()))
    deviation = float(np.abs(single.forces - double.forces).max()) / scale
    if deviation > RELATIVE_TOLERANCE:
        raise BankInvalid(
            f"the engines disagree on the golden structure: relative force deviation "
            f"{deviation:.1e}, expected at most {RELATIVE_TOLERANCE:.0e}"
        )


def _predict(predictor: Predicts, structure: Structure, options: EvaluationOptions) -> Prediction:
    (result,) = predictor.predict([structure], options)
    if isinstance(result, PosterionError):
        raise BankInvalid(
            f"the golden structure cannot be predicted in {options.precision}: {result.detail}"
        ) from result
    return result
