"""``posterion evaluate``: read, ask, score, print, draw, write."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import JsonValue
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from posterion.errors import ConfigurationError, UnknownModel
from posterion.evaluation.bank_evaluation import evaluate_frames
from posterion.evaluation.frame_file import FrameFile, familiarity, read_frame_file
from posterion.evaluation.pictures import Shown, draw
from posterion.evaluation.record import EvaluatedFile, evaluation_document
from posterion.evaluation.scores import ScoreSettings, judge, novelty, score_frames
from posterion.evaluation.table import show
from posterion.inference.bank import BankEngine
from posterion.inference.engine_choice import choose_engine
from posterion.inference.loading import SampleBank, load_bank
from posterion_store import Store
from posterion_store.names import utc_now


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRequest:
    """What was asked for.

    Attributes:
        bank: ``NAME``, ``NAME@ALIAS`` or ``NAME@VERSION``.
        file: Labelled frames.
        against: Labelled frames of another kind, if any.
        json_file: Where the document goes, if anywhere.
        plots: Folder of the pictures; None = ``evaluation-NAME`` beside ``json_file``, or in
            the working directory.
        store: URL of the model store.
        n_samples: Evaluate the first so many samples; None = all.
        device: ``auto``, ``cpu`` or ``cuda``.
        settings: How to score.
    """

    bank: str
    file: Path
    against: Path | None
    json_file: Path | None
    plots: Path | None
    store: str
    n_samples: int | None
    device: str
    settings: ScoreSettings


def run_evaluation(request: EvaluationRequest) -> dict[str, JsonValue]:
    """Do all of it.

    Args:
        request: What was asked for.

    Returns:
        The document that ``--json`` writes.

    Raises:
        ConfigurationError: If there is no such bank, or an option does not suit it.
        DatasetError: If a file cannot be read, or the bank can judge none of its frames.
        StoreError: If the store cannot be read.
    """
    device = _device(request.device)
    if request.json_file is not None and not request.json_file.absolute().parent.is_dir():
        raise ConfigurationError(f"cannot write {request.json_file}: there is no such folder")
    store = Store.open(request.store, read_only=True)
    bank = _bank(store, request.bank, device)
    files = [read_frame_file(path) for path in (request.file, request.against) if path is not None]
    engine = choose_engine(bank.config, bank.reference, bank.parameters, device=device).engine
    console = Console()
    judged = _evaluate(console, store, bank, engine, files, request)
    inside, outside = judged[0], judged[1] if len(judged) > 1 else None
    shown = [
        Shown(
            name=Path(one.file.name).stem,
            judgement=judge(one.evaluated, bank.calibration),
            scores=one.scores,
        )
        for one in judged
    ]
    told = (
        novelty(shown[0].judgement, shown[1].judgement, request.settings) if len(shown) > 1 else {}
    )
    show(console, bank, inside, outside, told)
    pictures = draw(
        shown[0],
        shown[1] if len(shown) > 1 else None,
        bank=bank.name,
        thresholds=request.settings.thresholds,
    )
    folder = _write_pictures(request, bank, pictures)
    document = evaluation_document(
        bank, inside, outside, told, request.settings, created_at=utc_now(), device=device
    )
    console.print(f"pictures in {folder}")
    if request.json_file is not None:
        text = json.dumps(document, indent=1, allow_nan=False) + "\n"
        request.json_file.write_text(text, encoding="utf-8")
        console.print(f"every number in {request.json_file}")
    return document


def score_settings(
    thresholds: Sequence[float] | None, *, n_resamples: int, seed: int
) -> ScoreSettings:
    """Check what was chosen about scoring.

    Raises:
        ConfigurationError: If a threshold is no positive number.
    """
    if not thresholds:
        return ScoreSettings(n_resamples=n_resamples, seed=seed)
    if not all(0.0 < one < float("inf") for one in thresholds):
        raise ConfigurationError(
            f"--error-above: expected positive numbers (eV/Angstrom), got {list(thresholds)}"
        )
    chosen = tuple(sorted(set(thresholds)))
    return ScoreSettings(thresholds=chosen, n_resamples=n_resamples, seed=seed)


def _device(name: str) -> torch.device:
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigurationError(f"--device: expected auto, cpu or cuda, got {name!r}")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ConfigurationError("--device: there is no CUDA device here")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def _bank(store: Store, text: str, device: torch.device) -> SampleBank:
    name, _, version = text.partition("@")
    try:
        return load_bank(store, name, version or None, device=device)
    except UnknownModel as error:
        raise ConfigurationError(error.detail) from error


def _evaluate(
    console: Console,
    store: Store,
    bank: SampleBank,
    engine: BankEngine,
    files: Sequence[FrameFile],
    request: EvaluationRequest,
) -> list[EvaluatedFile]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    judged = []
    with Progress(*columns, console=console, transient=True) as bars:
        for file in files:
            evaluated = evaluate_frames(
                bank,
                engine,
                file.frames,
                n_samples=request.n_samples,
                on_progress=_bar(bars, file.name, len(file.frames)),
            )
            bars.add_task(f"intervals of {file.name}", total=None)
            judged.append(
                EvaluatedFile(
                    file=file,
                    familiarity=familiarity(store, bank.manifest, file),
                    evaluated=evaluated,
                    scores=score_frames(evaluated, bank.calibration, request.settings),
                )
            )
    return judged


def _bar(bars: Progress, name: str, total: int) -> Callable[[int], None]:
    task = bars.add_task(name, total=total)
    return lambda n_frames: bars.advance(task, n_frames)


def _write_pictures(
    request: EvaluationRequest, bank: SampleBank, pictures: dict[str, bytes]
) -> Path:
    beside = Path() if request.json_file is None else request.json_file.parent
    folder = request.plots or beside / f"evaluation-{bank.name}"
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in pictures.items():
        (folder / name).write_bytes(data)
    return folder
