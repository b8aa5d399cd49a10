"""How a document with labels becomes structures to evaluate and energies to compare."""

from dataclasses import dataclass

from posterion.api.label_schemas import LabelsRequest
from posterion.api.parsing import PredictWork, read_predict
from posterion.api.schemas import PredictRequest
from posterion.api.settings import ApiSettings
from posterion.api.validation import validated
from posterion.errors import Fault, InvalidRequest
from posterion.structures.structure import Structure


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
    predict = PredictRequest(
        structures=request.structures,
        outputs=["energy", "uncertainty"],
        units=request.units,
        precision=request.precision,
        n_samples=request.n_samples,
        deadline_ms=request.deadline_ms,
    )
    work = LabelWork(request=request, predict=read_predict(predict, settings))
    _check_compositions(work)
    return work


def _check_compositions(work: LabelWork) -> None:
    """An offset is of one composition: a request that fixes or uses one has no other."""
    state = work.request.state
    if state is not None and state.offset == 0.0:
        return
    seen = {
        tuple(sorted(entry.atomic_numbers.tolist()))
        for entry in work.predict.structures
        if isinstance(entry, Structure)
    }
    if len(seen) > 1:
        detail = (
            "expected structures of one composition, because the offset is of one; send a "
            "state with offset 0 if reference and model count energies from the same zero"
        )
        raise InvalidRequest(detail, faults=(Fault(pointer="/structures", detail=detail),))
