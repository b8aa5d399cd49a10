"""How a document with labels becomes structures to evaluate and energies to compare."""

from dataclasses import dataclass

from posterion.api.label_schemas import ConfidenceState, LabelsRequest
from posterion.api.parsing import PredictWork, read_predict
from posterion.api.schemas import PredictRequest
from posterion.api.settings import ApiSettings
from posterion.api.validation import validated
from posterion.errors import Fault, InvalidRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelWork:
    """One request with labels, ready to be evaluated.

    Attributes:
        request: The checked document.
        predict: Its structures, as a predict request for their energies.
    """

    request: LabelsRequest
    predict: PredictWork


def parse_labels(document: object, settings: ApiSettings) -> LabelWork:
    """Check a document and read its structures.

    Args:
        document: What the codec decoded.
        settings: Limits on structures and atoms.

    Returns:
        The work. Structures that are wrong carry their own error.

    Raises:
        InvalidRequest: If a field is unknown, missing, of the wrong type, or does not go with
            another.
        TooLarge: If there are too many structures.
    """
    request = validated(LabelsRequest, document, settings)
    if len(request.energies) != len(request.structures):
        detail = f"expected one entry per structure, {len(request.structures)}"
        raise InvalidRequest(detail, faults=(Fault(pointer="/energies", detail=detail),))
    _check_offset(request.state)
    predict = PredictRequest(
        structures=request.structures,
        outputs=["energy", "uncertainty"],
        units=request.units,
        precision=request.precision,
        n_samples=request.n_samples,
        deadline_ms=request.deadline_ms,
        priority=request.priority,
    )
    return LabelWork(request=request, predict=read_predict(predict, settings))


def _check_offset(state: ConfidenceState | None) -> None:
    """An offset other than zero is of the composition that the state names."""
    if state is None or (state.offset is None) == (state.composition is None):
        return
    if state.offset == 0.0:
        return
    detail = (
        "expected null as long as the offset is null"
        if state.offset is None
        else "expected the formula that the offset is of: only an offset of 0 is of any"
    )
    raise InvalidRequest(detail, faults=(Fault(pointer="/state/composition", detail=detail),))
