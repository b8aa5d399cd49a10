"""No answer goes unflagged because its uncertainty was not wanted."""

from posterion.inference.predictor import Predictor
from posterion.structures.evaluation import EvaluationOptions
from tests.support.banks import ethanol
from tests.support.predictions import moved, predicted


def test_flags_are_the_same_with_and_without_uncertainty(predictor: Predictor) -> None:
    positions = ethanol().positions.copy()
    positions[0] += 0.45 * (positions[1] - positions[0])  # C-C squeezed to 0.8 Angstrom
    squeezed = moved(ethanol(), positions)
    asked, unasked = (
        predicted(predictor, [squeezed], EvaluationOptions(uncertainty=wanted))[0]
        for wanted in (True, False)
    )
    assert "force-epistemic-high" in {flag.code for flag in asked.flags}
    assert unasked.flags == asked.flags
    assert unasked.uncertainty is None
