"""What labels teach about the energies of a version; nothing of it stays in the service.

The state of three numbers travels in request and reply, so that any replica can answer.
"""

from typing import NamedTuple

from ase.symbols import Symbols

from posterion.api.answer import Answer
from posterion.api.codec import MediaType, encode
from posterion.api.errors import problem_document
from posterion.api.label_parsing import LabelWork
from posterion.api.label_schemas import state_of
from posterion.api.record import RequestRecord
from posterion.api.replies import model_document, units_document
from posterion.errors import CompositionMismatch, Fault, PosterionError, VersionMoved
from posterion.structures.prediction import Prediction
from posterion.structures.structure import Structure
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


class Lesson(NamedTuple):
    """What the labels of one request have taught.

    Attributes:
        outcomes: Of each structure, in the request's order.
        state: After all labels, in eV.
        composition: Formula that the offset is of; None where there is none, or it is of any.
    """

    outcomes: tuple[Judgement | PosterionError, ...]
    state: EnergyConfidence
    composition: str | None


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


def judge(work: LabelWork, answer: Answer) -> Lesson:
    """Learn from the labels in their order.

    A structure of another composition than the offset is neither judged nor learnt from.

    Args:
        work: The request.
        answer: Predictions of its structures.

    Returns:
        What came of each structure, and what is known afterwards.
    """
    asked = work.request
    ev = asked.units.system.ev
    state = state_of(asked.state, ev=ev)
    composition = None if asked.state is None else asked.state.composition
    outcomes: list[Judgement | PosterionError] = []
    for structure, outcome, label in zip(
        work.predict.structures, answer.outcomes, asked.energies, strict=True
    ):
        if isinstance(outcome, PosterionError):
            outcomes.append(outcome)
            continue
        assert isinstance(structure, Structure), "what cannot be read has no prediction"
        formula = _formula(structure)
        if composition not in (None, formula):
            outcomes.append(_mismatch(formula, composition))
            continue
        reference = None if label is None else label * ev
        judgement, learnt = _judge(state, outcome, reference, threshold=asked.threshold * ev)
        if learnt.offset is not None and state.offset is None:
            composition = formula
        state = learnt
        outcomes.append(judgement)
    return Lesson(tuple(outcomes), state, composition)


def write_lesson(
    lesson: Lesson, answer: Answer, media_type: MediaType, record: RequestRecord
) -> bytes:
    """Encode what the labels of a request have taught.

    Args:
        lesson: What they taught.
        answer: Predictions of its structures.
        media_type: The encoding.
        record: Of the request.

    Returns:
        The body of the reply.
    """
    units = answer.work.terms.units
    state = lesson.state
    results = [
        _error(identifier, outcome, index, record)
        if isinstance(outcome, PosterionError)
        else _result(identifier, outcome, units)
        for index, (identifier, outcome) in enumerate(
            zip(answer.work.ids, lesson.outcomes, strict=True)
        )
    ]
    document = {
        "model": model_document(answer.model),
        "units": units_document(units),
        "state": {
            "digest": answer.model.digest,
            "n": state.n,
            "sum_squares": state.sum_squares,
            "offset": None if state.offset is None else state.offset * units.energy_factor,
            "composition": lesson.composition,
        },
        "results": results,
    }
    return encode(document, media_type)


def _formula(structure: Structure) -> str:
    """Elements and how many atoms of each there are, in Hill order."""
    return str(Symbols(structure.atomic_numbers).get_chemical_formula(mode="hill"))


def _mismatch(found: str, expected: str) -> CompositionMismatch:
    detail = f"expected the composition {expected}, which the offset is of, got {found}"
    return CompositionMismatch(detail, faults=(Fault(pointer="", detail=detail),))


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
