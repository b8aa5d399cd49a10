"""How one predict request is answered, from its bytes to the bytes of the reply."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from posterion.api.answer import Answer, write
from posterion.api.backend import Backend, ModelIdentity, PredictReply, Timing
from posterion.api.codec import MediaType, decode
from posterion.api.frame_parsing import parse_frame
from posterion.api.label_parsing import LabelWork, parse_labels
from posterion.api.nesting import NestingLimits
from posterion.api.parsing import PredictWork, parse_predict
from posterion.api.record import RequestRecord
from posterion.api.replies import finite_or_error
from posterion.api.settings import ApiSettings
from posterion.errors import (
    DeadlineExceeded,
    Fault,
    InternalError,
    InvalidRequest,
    PosterionError,
)
from posterion.observability.metrics import PhaseSeconds, ServiceMetrics
from posterion.structures.prediction import Prediction
from posterion.structures.structure import Structure

_NO_TIME: Final = Timing(queue_ms=0.0, graph_ms=0.0, evaluate_ms=0.0)

Done = TypeVar("Done")


class Predictions:
    """Answers predict requests with a backend; one per application."""

    def __init__(self, settings: ApiSettings, backend: Backend, metrics: ServiceMetrics) -> None:
        """Keep the parts.

        Args:
            settings: Limits, and what counts as a large body.
            backend: Evaluates structures.
            metrics: Where results are counted.
        """
        self._settings = settings
        self._backend = backend
        self._metrics = metrics
        self._limits = NestingLimits(depth=settings.max_depth, nodes=settings.max_nodes)
        self._workers: anyio.CapacityLimiter | None = None

    async def read(self, body: bytes, media_type: MediaType, record: RequestRecord) -> PredictWork:
        """Decode and check a body; a long one in a worker thread.

        Args:
            body: The bytes.
            media_type: Their encoding.
            record: Of the request; takes note of the sizes.

        Returns:
            The work, with the errors of single structures inside.
        """
        if media_type is MediaType.FRAME:
            step = partial(parse_frame, body, self._settings)
            work = await self.run(step, large=self._is_long(body))
        else:
            work = await self._decoded(body, media_type, parse_predict)
        _note_sizes(record, work)
        return work

    async def read_labels(
        self, body: bytes, media_type: MediaType, record: RequestRecord
    ) -> LabelWork:
        """The same for a body with labels.

        Args:
            body: The bytes.
            media_type: Their encoding.
            record: Of the request; takes note of the sizes.

        Returns:
            The work, with the errors of single structures inside.
        """
        work = await self._decoded(body, media_type, parse_labels)
        _note_sizes(record, work.predict)
        return work

    async def evaluate(
        self, work: PredictWork, model: ModelIdentity, version: str | None, record: RequestRecord
    ) -> Answer:
        """Evaluate the valid structures and put every outcome in its place.

        Args:
            work: What is asked.
            model: The version that would answer now.
            version: The version asked for; None = the served default.
            record: Of the request; its start is where the deadline counts from.

        Returns:
            The answer.
        """
        _check_samples(work, model)
        reply = await self._predict(work, model, version, record)
        predicted = iter(reply.results)
        outcomes = tuple(
            finite_or_error(next(predicted)) if isinstance(entry, Structure) else entry
            for entry in work.structures
        )
        record.afterwards.append(partial(self._count, reply, outcomes, record.n_atoms or 0))
        return Answer(work=work, model=reply.model, outcomes=outcomes, timing=reply.timing)

    def count_refusals(self, answer: Answer, outcomes: Sequence[object]) -> None:
        """Count structures that were evaluated and then refused.

        Args:
            answer: What the backend said, counted already.
            outcomes: What was made of it, structure by structure.
        """
        for before, after in zip(answer.outcomes, outcomes, strict=True):
            if isinstance(after, PosterionError) and after is not before:
                self._metrics.count_item_error(model=answer.model.name, code=after.code)

    async def write(self, answer: Answer, media_type: MediaType, record: RequestRecord) -> bytes:
        """Encode an answer; a long one in a worker thread.

        Args:
            answer: The answer.
            media_type: The encoding.
            record: Of the request.

        Returns:
            The body of the reply.
        """
        full = answer.work.terms.options.samples == "full"
        n_numbers = (record.n_atoms or 0) * (10 + (3 * answer.model.n_samples if full else 0))
        step = partial(write, answer, media_type, record)
        return await self.run(step, large=n_numbers > self._settings.offload_numbers)

    async def run(self, step: Callable[[], Done], *, large: bool) -> Done:
        """Read or write something; a large one in a worker thread.

        Args:
            step: Does it.
            large: Whether the event loop would miss the time.

        Returns:
            What it returns.
        """
        if not large:
            return step()
        if self._workers is None:
            self._workers = anyio.CapacityLimiter(self._settings.offload_workers)
        return await anyio.to_thread.run_sync(step, limiter=self._workers)

    async def _decoded(
        self,
        body: bytes,
        media_type: MediaType,
        parse: Callable[[object, ApiSettings], Done],
    ) -> Done:
        def step() -> Done:
            return parse(decode(body, media_type, self._limits), self._settings)

        return await self.run(step, large=self._is_long(body))

    def _is_long(self, body: bytes) -> bool:
        return len(body) > self._settings.offload_bytes

    async def _predict(
        self, work: PredictWork, model: ModelIdentity, version: str | None, record: RequestRecord
    ) -> PredictReply:
        structures = valid_structures(work)
        if not structures:
            return PredictReply(model=model, results=(), timing=_NO_TIME)
        deadline_s = _time_left(work, record)
        asked = self._backend.predict(
            model.name,
            version,
            structures,
            work.terms.options,
            deadline_s=deadline_s,
            priority=work.terms.priority,
        )
        reply = await (asked if deadline_s is None else _within(deadline_s, asked))
        if len(reply.results) != len(structures):
            raise InternalError("the backend lost a structure")
        return reply

    def _count(
        self,
        reply: PredictReply,
        outcomes: Sequence[Prediction | PosterionError],
        n_atoms: int,
    ) -> None:
        name, timing = reply.model.name, reply.timing
        self._metrics.observe_prediction(
            model=name,
            n_structures=len(outcomes),
            n_atom_samples=n_atoms * reply.model.n_samples,
            phases_s=PhaseSeconds(
                queue=timing.queue_ms / 1e3,
                graph=timing.graph_ms / 1e3,
                evaluate=timing.evaluate_ms / 1e3,
            ),
        )
        for outcome in outcomes:
            if isinstance(outcome, PosterionError):
                self._metrics.count_item_error(model=name, code=outcome.code)
                continue
            for flag in outcome.flags:
                self._metrics.count_flag(model=name, code=flag.code, severity=flag.severity)
            if outcome.uncertainty is not None:
                self._metrics.observe_force_std(model=name, value=outcome.uncertainty.forces_max)


def valid_structures(work: PredictWork) -> tuple[Structure, ...]:
    """The structures of a request that can be evaluated, in order.

    Args:
        work: The request.
    """
    return tuple(entry for entry in work.structures if isinstance(entry, Structure))


def single_error(outcomes: Sequence[object]) -> PosterionError | None:
    """The error of a request's only structure, if it has one structure and that errs.

    Args:
        outcomes: What came of each structure.
    """
    first = outcomes[0]
    return first if len(outcomes) == 1 and isinstance(first, PosterionError) else None


async def _within(deadline_s: float, asked: Awaitable[PredictReply]) -> PredictReply:
    try:
        async with asyncio.timeout(deadline_s) as scope:
            return await asked
    except TimeoutError:
        if not scope.expired():
            raise
        raise DeadlineExceeded("the deadline passed before the answer was ready") from None


def _note_sizes(record: RequestRecord, work: PredictWork) -> None:
    record.n_structures = len(work.structures)
    record.n_atoms = sum(entry.n_atoms for entry in valid_structures(work))


def _check_samples(work: PredictWork, model: ModelIdentity) -> None:
    asked = work.terms.options.n_samples
    if asked is not None and asked > model.n_samples:
        detail = f"expected at most {model.n_samples}, the samples of this version"
        raise InvalidRequest(detail, faults=(Fault(pointer="/n_samples", detail=detail),))


def _time_left(work: PredictWork, record: RequestRecord) -> float | None:
    if work.deadline_ms is None:
        return None
    left = work.deadline_ms / 1e3 - record.elapsed_s
    if left <= 0:
        raise DeadlineExceeded("the deadline passed while the request was read")
    return left
