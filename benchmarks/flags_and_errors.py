"""Does a flag mean an error? A bank against labelled frames of molecules it was not made with.

    python -m benchmarks.flags_and_errors BANK --store STORE --reference DIR --data FILE ...

``--reference`` is the output of ``benchmarks/reference_sets.py``: every set of which the bank
knows the elements is a row. ``--data`` are the files the bank was made from: its report frames
in them are rows by composition. Frames with a force error above 0.3 eV/Angstrom on an atom
should be flagged, frames whose errors all stay below 0.1 should not. The result goes to
``benchmarks/results/flags_and_errors/BANK-VERSION.json`` and, as a table, to standard output.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import JsonValue

from benchmarks.uq_quality import shortened
from posterion.errors import DatasetError
from posterion.evaluation.bank_evaluation import evaluate_frames
from posterion.evaluation.frame_file import read_frame_file
from posterion.evaluation.record import hardware, scores_document
from posterion.evaluation.scores import ScoreSettings, score_frames
from posterion.inference.bank import BankEngine
from posterion.inference.engine_choice import choose_engine
from posterion.inference.loading import SampleBank, load_bank
from posterion.structures.ase_io import LabelledFrame
from posterion.structures.frame_digest import FRAMES_FILE, decode_frame_names, geometry_digest
from posterion_store import Store
from posterion_store.names import utc_now

RESULTS: Final = Path(__file__).parent / "results" / "flags_and_errors"
SETTINGS: Final = ScoreSettings(n_resamples=400)
CODES: Final = ("any", "force-epistemic-high", "energy-epistemic-high", "latent-density-low")


def report_frames(
    store: Store, bank: SampleBank, files: Sequence[Path]
) -> dict[str, list[LabelledFrame]]:
    """The bank's report frames in some files, by composition."""
    names = decode_frame_names(store.read_blob(bank.manifest.files[FRAMES_FILE]))
    found: dict[str, list[LabelledFrame]] = defaultdict(list)
    for file in files:
        for frame in read_frame_file(file).usable:
            if geometry_digest(frame.structure) in names["report"]:
                found[file.stem.removeprefix("rmd17_").split("_")[0]].append(frame)
    return found


def reference_sets(folder: Path, bank: SampleBank) -> Iterator[tuple[str, list[LabelledFrame]]]:
    """The labelled sets of a folder whose elements the bank knows."""
    for path in sorted(folder.glob("*.extxyz")):
        if path.name.endswith(".geometries.extxyz"):
            continue
        frames = list(read_frame_file(path).usable)
        numbers = {int(z) for frame in frames for z in frame.structure.atomic_numbers}
        if numbers <= set(bank.config.elements):
            yield path.stem, frames


def scored(bank: SampleBank, engine: BankEngine, frames: Sequence[LabelledFrame]) -> dict[str, Any]:
    """Scores and flags of one set of frames."""
    evaluated = evaluate_frames(bank, engine, frames)
    if evaluated.refused:
        raise DatasetError(f"{bank.name} refused {len(evaluated.refused)} frames")
    return scores_document(score_frames(evaluated, bank.calibration, SETTINGS))


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Markdown, one line per set."""
    lines = [
        (
            "| frames | n | force MAE, meV/Å | flagged | error above 0.3 eV/Å: flagged | "
            "between: flagged | all errors below 0.1 eV/Å: flagged |"
        ),
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        counts = row["flags"]["by_code"]["any"]
        cells = [
            f"{counts[part]['count']} of {counts[part]['of']}"
            for part in ("flagged", "high_error", "between", "low_error")
        ]
        mae = 1e3 * row["scores"]["forces"]["mae"]["value"]
        lines.append(
            f"| {name} | {counts['flagged']['of']} | {mae:.1f} | " + " | ".join(cells) + " |"
        )
    return "\n".join(lines)


def main() -> int:
    """Evaluate every set and write what came out."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.flags_and_errors",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bank")
    parser.add_argument("--store", required=True)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--data", type=Path, nargs="*", default=[])
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    store = Store.open(given.store, read_only=True)
    bank = load_bank(store, given.bank)
    engine = choose_engine(bank.config, bank.reference, bank.parameters).engine
    known = report_frames(store, bank, given.data)
    rows: dict[str, dict[str, Any]] = {}
    if known:
        rows["all report frames"] = scored(
            bank, engine, [f for part in known.values() for f in part]
        )
    for name, frames in [*known.items(), *reference_sets(given.reference, bank)]:
        rows[name] = scored(bank, engine, frames)
        print(f"{name}: {len(frames)} frames", file=sys.stderr, flush=True)
    document: dict[str, JsonValue] = {
        "format_version": 1,
        "bank": bank.name,
        "digest": bank.digest,
        "n_samples": bank.n_samples,
        "sets": {name: _kept(row) for name, row in rows.items()},
        "created_at": utc_now(),
        "hardware": hardware(torch.device("cpu")),
    }
    given.results.mkdir(parents=True, exist_ok=True)
    path = given.results / f"{bank.name}-{bank.version}.json"
    path.write_text(json.dumps(shortened(document), sort_keys=True) + "\n")
    print(table(rows))
    return 0


def _kept(row: dict[str, Any]) -> JsonValue:
    by_code = row["flags"]["by_code"]
    return {
        "forces": row["scores"]["forces"],
        "flags": {code: by_code[code] for code in CODES if code in by_code},
    }


if __name__ == "__main__":
    sys.exit(main())
