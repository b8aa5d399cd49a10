"""What a bank says about labelled frames, and about which of them it cannot be asked."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posterion.errors import (
    ConfigurationError,
    DatasetError,
    NonFiniteResult,
    PosterionError,
    UnsupportedElement,
)
from posterion.graph.batch import Graph, bounded_runs, build_graph, collate
from posterion.inference.bank import BankEngine
from posterion.inference.held_out_frames import EDGES_PER_BATCH, held_out_part, join_held_out
from posterion.inference.loading import SampleBank
from posterion.inference.reduction import Reduction
from posterion.structures.ase_io import LabelledFrame
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.prediction import Flag
from posterion.uncertainty.held_out import HeldOut
from posterion.uncertainty.latent_force import with_latent_epistemic

FRAMES_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A frame that the bank was not asked about, or gave no answer to.

    Attributes:
        frame: Its place in the file, from zero.
        code: Stable name of the reason.
        detail: The reason in words.
    """

    frame: int
    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluated:
    """A bank's answers beside the references.

    Attributes:
        held_out: What every sample said of the frames that could be judged.
        atomic_numbers: Of their atoms, shape ``(n_atoms,)``.
        flags: Flags of each of these frames.
        refused: The other frames.
        wall_s: Time of the evaluation, seconds.
        cpu_s: Processor time of the same, all threads, seconds.
    """

    held_out: HeldOut
    atomic_numbers: NDArray[np.int64]
    flags: tuple[tuple[Flag, ...], ...]
    refused: tuple[Refused, ...]
    wall_s: float
    cpu_s: float

    @property
    def n_frames(self) -> int:
        """Number of frames that could be judged."""
        return self.held_out.n_structures


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Asked:
    place: int
    frame: LabelledFrame
    graph: Graph


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Answered:
    held_out: HeldOut
    flags: list[tuple[Flag, ...]]
    asked: list[_Asked]


def evaluate_frames(
    bank: SampleBank,
    engine: BankEngine,
    frames: Sequence[LabelledFrame | DatasetError],
    *,
    n_samples: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Evaluated:
    """Ask a bank about every frame it can judge.

    Args:
        bank: The samples with their calibration and domain.
        engine: Evaluates them.
        frames: In the order of the file.
        n_samples: Evaluate the first so many samples; None = all.
        on_progress: Called with the number of frames dealt with, a batch at a time.

    Returns:
        Answers and references; frames that cannot be judged are named.

    Raises:
        ConfigurationError: If the bank is not calibrated for that many samples.
        DatasetError: If not one frame can be judged.
    """
    started, cpu_started = time.perf_counter(), time.process_time()
    options = EvaluationOptions(n_samples=_checked_samples(bank, n_samples))
    answered: list[_Answered] = []
    refused: list[Refused] = []
    for start in range(0, len(frames), FRAMES_AT_ONCE):
        chunk = frames[start : start + FRAMES_AT_ONCE]
        asked = _asked(bank, chunk, start, refused)
        for run in bounded_runs([one.graph for one in asked], n_edges=EDGES_PER_BATCH):
            answer = _answers(bank, engine, asked[run], options, refused)
            if answer is not None:
                answered.append(answer)
        if on_progress is not None:
            on_progress(len(chunk))
    if not answered:
        raise DatasetError(
            f"bank {bank.name} can judge none of {len(frames)} frames: {_reasons(refused)}"
        )
    judged = [one.frame.structure for part in answered for one in part.asked]
    held_out = join_held_out([part.held_out for part in answered])
    if bank.calibration.latent_force is not None:
        held_out = with_latent_epistemic(held_out, bank.calibration.latent_force)
    return Evaluated(
        held_out=held_out,
        atomic_numbers=np.concatenate([structure.atomic_numbers for structure in judged]),
        flags=tuple(flags for part in answered for flags in part.flags),
        refused=tuple(sorted(refused, key=lambda one: one.frame)),
        wall_s=time.perf_counter() - started,
        cpu_s=time.process_time() - cpu_started,
    )


def _checked_samples(bank: SampleBank, n_samples: int | None) -> int:
    wanted = bank.n_samples if n_samples is None else n_samples
    try:
        bank.calibration.for_samples(wanted)
    except ValueError as error:
        raise ConfigurationError(f"bank {bank.name}: {error}") from error
    return wanted


def _asked(
    bank: SampleBank,
    chunk: Sequence[LabelledFrame | DatasetError],
    start: int,
    refused: list[Refused],
) -> list[_Asked]:
    """Frames of a chunk that the bank knows all elements of; the others join ``refused``."""
    asked = []
    for place, frame in enumerate(chunk, start):
        if isinstance(frame, PosterionError):
            refused.append(Refused(frame=place, code=frame.code, detail=frame.detail))
            continue
        numbers = frame.structure.atomic_numbers
        unknown = np.setdiff1d(numbers, bank.config.elements)
        if unknown.size:
            detail = (
                f"frame {place}: bank {bank.name} knows the atomic numbers "
                f"{list(bank.config.elements)}, the frame also has {unknown.tolist()}"
            )
            refused.append(Refused(frame=place, code=UnsupportedElement.code, detail=detail))
            continue
        graph = build_graph(frame.structure, bank.config.cutoff)
        asked.append(_Asked(place=place, frame=frame, graph=graph))
    return asked


def _answers(
    bank: SampleBank,
    engine: BankEngine,
    asked: list[_Asked],
    options: EvaluationOptions,
    refused: list[Refused],
) -> _Answered | None:
    """Evaluate one batch; frames without a finite answer join ``refused``."""
    graphs = [one.graph for one in asked]
    batch = collate(graphs, dtype=engine.dtype, device=engine.device)
    outputs = engine.evaluate(batch, n_samples=options.n_samples, stress=False)
    results = Reduction.of(bank).reduce(outputs, graphs, options)
    finite = []
    flags = []
    for one, result in zip(asked, results, strict=True):
        if isinstance(result, PosterionError):
            detail = f"frame {one.place}: {result.detail}"
            refused.append(Refused(frame=one.place, code=NonFiniteResult.code, detail=detail))
        else:
            finite.append(one)
            flags.append(result.flags)
    if not finite:
        return None
    if len(finite) < len(asked):
        # Rare: cutting atoms out of the outputs is not worth its code.
        return _answers(bank, engine, finite, options, refused)
    held_out = held_out_part(
        outputs, [one.frame for one in asked], latent_density=bank.latent_density
    )
    return _Answered(held_out=held_out, flags=flags, asked=asked)


def _reasons(refused: Sequence[Refused]) -> str:
    counts = Counter(one.code for one in refused)
    first = {one.code: one.detail for one in reversed(refused)}
    return "; ".join(f"{count} x {code} (first: {first[code]})" for code, count in counts.items())
