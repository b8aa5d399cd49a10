"""Do few samples raise the same flags as all of them?

    python -m benchmarks.adaptive_samples BANK --store STORE FILE [FILE ...]

Every structure of every file, evaluated with all samples of the bank, with an adaptive number
and with the fewest it starts from. A structure agrees if the codes and severities of its flags
are the same. Labels in the files are ignored. The result goes to
``benchmarks/results/adaptive_samples/BANK-VERSION.json`` and, as a table, to standard output.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import JsonValue

from benchmarks.stamp import write_result
from posterion.errors import PosterionError
from posterion.evaluation.frame_file import read_frame_file
from posterion.inference.adaptive import rungs
from posterion.inference.loading import load_bank
from posterion.inference.predictor import Predictor
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.prediction import Prediction
from posterion.structures.structure import Structure
from posterion_store import Store

RESULTS: Final = Path(__file__).parent / "results" / "adaptive_samples"

Row = dict[str, JsonValue]


def answers(
    predictor: Predictor, structures: Sequence[Structure], options: EvaluationOptions
) -> list[Prediction]:
    """Evaluate all structures.

    Raises:
        PosterionError: If the bank refuses one of them.
    """
    found = []
    for answer in predictor.predict(structures, options):
        if isinstance(answer, PosterionError):
            raise answer
        found.append(answer)
    return found


def raised(prediction: Prediction) -> set[tuple[str, str]]:
    """Codes and severities of the flags of one structure."""
    return {(flag.code, flag.severity) for flag in prediction.flags}


def compared(predictor: Predictor, structures: Sequence[Structure]) -> Row:
    """One row: how many samples were needed, and how often the flags agree."""
    fewest = rungs(predictor.n_samples, fewest=predictor.bank.calibration.fewest_samples)[0]
    whole = answers(predictor, structures, EvaluationOptions())
    adaptive = answers(predictor, structures, EvaluationOptions(adaptive=True))
    few = answers(predictor, structures, EvaluationOptions(n_samples=fewest))

    def agreeing(others: Sequence[Prediction]) -> int:
        return sum(raised(a) == raised(b) for a, b in zip(whole, others, strict=True))

    n_samples = np.array([each.n_samples for each in adaptive])
    return {
        "n": len(structures),
        "flagged": sum(bool(each.flags) for each in whole),
        "mean_n_samples": round(float(n_samples.mean()), 3),
        "histogram": {str(k): int((n_samples == k).sum()) for k in np.unique(n_samples)},
        "adaptive_agrees": agreeing(adaptive),
        "fewest_agrees": agreeing(few),
        "fewest": fewest,
    }


def table(rows: dict[str, Row]) -> str:
    """Markdown, one line per file."""
    lines = [
        "| structures | n | flagged | mean number of samples | same flags | with the fewest |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        shares = [f"{row[key]} of {row['n']}" for key in ("adaptive_agrees", "fewest_agrees")]
        lines.append(
            f"| {name} | {row['n']} | {row['flagged']} | {row['mean_n_samples']} | "
            + " | ".join(shares)
            + " |"
        )
    return "\n".join(lines)


def main() -> int:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.adaptive_samples",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bank")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--store", required=True)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    bank = load_bank(Store.open(given.store, read_only=True), given.bank)
    predictor = Predictor(bank)
    rows: dict[str, Row] = {}
    for path in given.files:
        structures = [frame.structure for frame in read_frame_file(path).usable]
        rows[path.stem] = compared(predictor, structures)
        print(f"{path.stem}: {len(structures)} structures", file=sys.stderr, flush=True)
    found: dict[str, JsonValue] = {
        "bank": bank.name,
        "digest": bank.digest,
        "n_samples": bank.n_samples,
        "files": dict(rows.items()),
    }
    path = given.results / f"{bank.name}-{bank.version}.json"
    write_result(path, found, packages=("posterion", "torch"))
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
