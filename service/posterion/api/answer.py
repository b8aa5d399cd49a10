"""What one predict request is answered, and how that becomes bytes."""

from dataclasses import dataclass

from posterion.api.backend import ModelIdentity, Timing
from posterion.api.codec import MediaType, encode
from posterion.api.errors import problem_document
from posterion.api.frame_replies import Refused, ReplyHeader, encode_reply
from posterion.api.parsing import PredictWork
from posterion.api.record import RequestRecord
from posterion.api.replies import (
    error_document,
    model_document,
    result_document,
    timing_document,
    units_document,
)
from posterion.errors import PosterionError
from posterion.structures.prediction import Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The results of one request, not yet encoded.

    Attributes:
        work: What was asked.
        model: The version that answered.
        outcomes: Prediction or error of each structure, in the request's order.
        timing: Where the time went.
    """

    work: PredictWork
    model: ModelIdentity
    outcomes: tuple[Prediction | PosterionError, ...]
    timing: Timing


def write(answer: Answer, media_type: MediaType, record: RequestRecord) -> bytes:
    """Encode an answer.

    Args:
        answer: The answer; one to a frame may become a frame.
        media_type: The encoding.
        record: Of the request.

    Returns:
        The body of the reply.
    """
    if media_type is MediaType.FRAME:
        return _write_frame(answer, record)
    terms = answer.work.terms
    units = terms.units
    results = [
        error_document(identifier, outcome, request_id=record.request_id, index=index)
        if isinstance(outcome, PosterionError)
        else result_document(identifier, outcome, units=units, outputs=terms.outputs)
        for index, (identifier, outcome) in enumerate(
            zip(answer.work.ids, answer.outcomes, strict=True)
        )
    ]
    document = {
        "model": model_document(answer.model),
        "units": units_document(units),
        "results": results,
        "timing_ms": timing_document(answer.timing, total_s=record.elapsed_s),
    }
    return encode(document, media_type)


def _write_frame(answer: Answer, record: RequestRecord) -> bytes:
    terms = answer.work.terms
    results = [
        Refused(
            problem=problem_document(
                outcome, record.request_id, pointer_prefix=f"/structures/{index}"
            ),
            n_atoms=size,
        )
        if isinstance(outcome, PosterionError)
        else outcome
        for index, (size, outcome) in enumerate(
            zip(answer.work.sizes, answer.outcomes, strict=True)
        )
    ]
    timing = answer.timing
    header = ReplyHeader(
        step=0,
        outputs=terms.outputs,
        timing_ms=(timing.queue_ms, timing.graph_ms, timing.evaluate_ms),
    )
    return encode_reply(results, header, terms.units)
