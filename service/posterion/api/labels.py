"""What labels teach about the energies of a version; nothing of it stays in the service.

The state of three numbers travels in request and reply, so that any replica can answer.
"""

from typing import NamedTuple

from posterion.api.codec import MediaType, encode
from posterion.api.errors import problem_document
from posterion.api.label_parsing import LabelWork
from posterion.api.label_schemas import state_of
from posterion.api.prediction import Answer
from posterion.api.record import RequestRecord
from posterion.api.replies import model_document, units_document
from posterion.errors import PosterionError, VersionMoved
from posterion.structures.prediction import Prediction
from posterion.structures.units import UnitSystem
from posterion.uncertainty.confidence import EnergyConfidence

Document = dict[str, object]


class Judgement(NamedTuple):
    """One energy in the light of the labels before its own; energies in eV.

    Attributes:
        energy: Predicted.
        std: Calibrated total standard deviation.
        confidence: Probability that the error is at most the threshold.
        residual: Of the structure's own label; None if it has none.
    """

    energy: float
    std: float
    confidence: float
    residual: float | None


def check_state(work: LabelWork, digest: str) -> None:
    """Refuse a state that was learnt from another version.

    Args:
        work: The request.
        digest: Version that answers.

    Raises:
        VersionMoved: If the state names another one.
    """
    state = work.request.state
    if state is not None and state.digest != digest:
        raise VersionMoved(
            f'the state is of another version than "{digest}"; start again without one'
        )


def write_labels(
    work: LabelWork, answer: Answer, media_type: MediaType, record: RequestRecord
) -> bytes:
    """Learn from the labels in their order, and encode what came of it.

    Args:
        work: The request.
        answer: Predictions of its structures.
        media_type: The encoding.
        record: Of the request.

    Returns:
        The body of the reply.
    """
    units = work.request.units.system
    state = state_of(work.request.state, ev=units.ev)
    threshold = work.request.threshold * units.ev
    results: list[Document] = []
    for index, (outcome, label) in enumerate(
        zip(answer.outcomes, work.request.energies, strict=True)
    ):
        identifier = answer.work.ids[index]
        if isinstance(outcome, PosterionError):
            results.append(_error(identifier, outcome, index, record))
            continue
        reference = None if label is None else label * units.ev
        judgement, state = _judge(state, outcome, reference, threshold=threshold)
        results.append(_result(identifier, judgement, units))
    offset = None if state.offset is None else state.offset * units.energy_factor
    document = {
        "model": model_document(answer.model),
        "units": units_document(units),
        "state": {
            "digest": answer.model.digest,
            "n": state.n,
            "sum_squares": state.sum_squares,
            "offset": offset,
        },
        "results": results,
    }
    return encode(document, media_type)


def _judge(
    state: EnergyConfidence, prediction: Prediction, reference: float | None, *, threshold: float
) -> tuple[Judgement, EnergyConfidence]:
    """Judge one energy by the labels before its own, then learn from that; all in eV."""
    assert prediction.uncertainty is not None, "the request asks for it"
    energy, std = prediction.energy, prediction.uncertainty.energy_total
    confidence = state.probability_within(threshold, std=std)
    if reference is None:
        return Judgement(energy, std, confidence, residual=None), state
    learnt = state.with_label(reference=reference, predicted=energy, std=std)
    assert learnt.offset is not None, "a label fixes it"
    return Judgement(energy, std, confidence, reference - energy - learnt.offset), learnt


def _result(identifier: str, judgement: Judgement, units: UnitSystem) -> Document:
    residual = judgement.residual
    return {
        "id": identifier,
        "status": "ok",
        "energy": judgement.energy * units.energy_factor,
        "std": judgement.std * units.energy_factor,
        "residual": None if residual is None else residual * units.energy_factor,
        "confidence": judgement.confidence,
        "error": None,
    }


def _error(identifier: str, error: PosterionError, index: int, record: RequestRecord) -> Document:
    problem = problem_document(error, record.request_id, pointer_prefix=f"/structures/{index}")
    empty = dict.fromkeys(("energy", "std", "residual", "confidence"))
    return {"id": identifier, "status": "error", **empty, "error": problem}
