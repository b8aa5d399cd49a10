"""Which uncertainty is worth its cost? Methods side by side, at equal cost, on real data.

    python -m benchmarks.uq_quality WORK --data DIR [--reference DIR] [--task T] [--method M]
    python -m benchmarks.uq_quality WORK --data DIR --list
    python -m benchmarks.uq_report          # tables and pictures of what is there

A cell is one method on one task with one seed: trained by the trainer job, published to a
store in WORK, judged on ordinary and on strange frames. Its scores go to
``benchmarks/results/uq_quality/TASK/METHOD-SEED.json``; a cell whose file exists is not run
again, and a killed one continues from its checkpoints. WORK lies outside the repository.
A command uses one core. Several may run at the same time with the same WORK: each training
is claimed. Methods that optimise the same networks share one training.
"""

import argparse
import fcntl
import json
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import torch
from pydantic import JsonValue

from benchmarks.uq_cells import SEEDS, Cell, configuration, wanted_cells
from benchmarks.uq_frames import Folders, StrangeSet
from benchmarks.uq_methods import CONTENDERS, N_SAMPLES
from benchmarks.uq_tasks import TASKS
from posterion.evaluation.bank_evaluation import Evaluated, evaluate_frames
from posterion.evaluation.frame_file import read_frame_file
from posterion.evaluation.record import estimates_document, hardware, scores_document
from posterion.evaluation.scores import ScoreSettings, judge, novelty, score_frames
from posterion.inference.bank import BankEngine
from posterion.inference.engine_choice import choose_engine
from posterion.inference.loading import SampleBank, load_bank
from posterion.structures.ase_io import LabelledFrame
from posterion.training.datasets import split_frames
from posterion.training.job import train
from posterion.training.worker import Progress
from posterion_store import Store
from posterion_store.names import utc_now

RESULTS: Final = Path(__file__).parent / "results" / "uq_quality"
QUICK_BUDGET: Final = 4_000
RESAMPLES: Final = 400


def run_cell(cell: Cell, folders: Folders, *, quick: bool) -> dict[str, JsonValue]:
    """Train, publish and judge; continues what was begun.

    Args:
        cell: What to run.
        folders: Where things lie.
        quick: Use a fraction of the budget: proves that the cell runs, measures nothing.

    Returns:
        Its scores, to be written as JSON.
    """
    task = TASKS[cell.task](folders)
    budget = min(task.budget, QUICK_BUDGET) if quick else task.budget
    store = Store.open(str(folders.work / "store"))
    trunk, config = configuration(cell, task, budget=budget, store=store.url)
    runs = folders.work / ("quick-runs" if quick else "runs")
    before = _processor_s()
    report = _Milestones(cell)
    if trunk is not None and trunk.name not in store.names():
        train(trunk, store=store, folder=runs / trunk.name, report=report)
    published = train(
        config, store=store, folder=runs / cell.training, report=report, accept_diagnostics=True
    )
    trained_s = _processor_s() - before
    bank = load_bank(store, cell.name)
    engine = choose_engine(bank.config, bank.reference, bank.parameters).engine
    ordinary = split_frames(config.data, level_of_theory=config.level_of_theory).report.frames
    return {
        "format_version": 1,
        "task": cell.task,
        "task_title": task.title,
        "level_of_theory": task.level_of_theory,
        "method": cell.method,
        "method_title": CONTENDERS[cell.method].title,
        "seed": cell.seed,
        "quick": quick,
        "budget_gradient_evaluations": budget,
        "gradient_evaluations": _gradient_evaluations(
            store, [one.name for one in (trunk, config) if one is not None]
        ),
        "n_samples": bank.n_samples,
        "training_processor_s_this_session": trained_s,
        "configuration": config.model_dump(mode="json", exclude={"data", "execution"}),
        "diagnostics": dict(published.diagnostics),
        "judged": [
            _judged(bank, engine, ordinary, task.strange, n_samples=n_samples)
            for n_samples in _sample_counts(bank)
        ],
        "created_at": utc_now(),
        "hardware": hardware(torch.device("cpu")),
        "software": dict(bank.manifest.software),
    }


def _gradient_evaluations(store: Store, banks: Sequence[str]) -> int:
    """What training these banks has cost together."""
    manifests = [store.manifest(store.resolve(bank)) for bank in banks]
    return sum(int(str(one.diagnostics["gradient_evaluations"])) for one in manifests)


def _sample_counts(bank: SampleBank) -> list[int]:
    """All samples, and half of the usual number: banks of four are met at equal inference."""
    return sorted({bank.n_samples, min(N_SAMPLES // 2, bank.n_samples)})


def _judged(
    bank: SampleBank,
    engine: BankEngine,
    ordinary: Sequence[LabelledFrame],
    strange: Sequence[StrangeSet],
    *,
    n_samples: int,
) -> dict[str, JsonValue]:
    settings = ScoreSettings(n_resamples=RESAMPLES)
    inside = evaluate_frames(bank, engine, ordinary, n_samples=n_samples)
    known = judge(inside, bank.calibration)
    document: dict[str, JsonValue] = {
        "n_samples": n_samples,
        "processor_ms_per_frame": 1e3 * inside.cpu_s / inside.n_frames,
        "ordinary": scores_document(score_frames(inside, bank.calibration, settings)),
    }
    outside: dict[str, JsonValue] = {}
    for one in strange:
        evaluated = _evaluate_strange(bank, engine, one, n_samples=n_samples)
        found = novelty(known, judge(evaluated, bank.calibration), settings)
        outside[one.name] = {
            **scores_document(score_frames(evaluated, bank.calibration, settings)),
            "out_of_distribution": estimates_document(found),
        }
    return document | {"strange": outside}


def _evaluate_strange(
    bank: SampleBank, engine: BankEngine, strange: StrangeSet, *, n_samples: int
) -> Evaluated:
    frames = read_frame_file(strange.path).usable
    every = max(1, -(-len(frames) // strange.max_frames))
    return evaluate_frames(bank, engine, frames[::every], n_samples=n_samples)


def shortened(value: JsonValue) -> JsonValue:
    """The same document with six digits of every number: results are committed."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: shortened(one) for key, one in value.items()}
    if isinstance(value, list):
        return [shortened(one) for one in value]
    return value


class _Milestones:
    """Prints a line now and then: the output may be a log file."""

    def __init__(self, cell: Cell) -> None:
        """Print nothing yet."""
        self._cell = cell
        self._next: dict[tuple[int, ...], float] = {}

    def __call__(self, progress: Progress) -> None:
        """Take a sign of life."""
        due = self._next.get(progress.chains, 0.0)
        if time.monotonic() >= due or progress.step == progress.n_steps:
            self._next[progress.chains] = time.monotonic() + 60.0
            print(
                f"  {self._cell.name} {progress.chains}: {progress.step}/{progress.n_steps} "
                f"{progress.message}",
                flush=True,
            )


def _processor_s() -> float:
    """Processor time of this process and of finished child processes, seconds."""
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(sum(resource.getrusage(who)[:2]) for who in both)


@contextmanager
def _claimed(cell: Cell, work: Path) -> Iterator[bool]:
    """Whether this process may train for the cell; another one that does holds the lock."""
    path = work / "claims" / cell.training
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.uq_quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("work", type=Path, help="folder for runs and store, outside the repository")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--reference", type=Path, help="output of benchmarks/reference_sets.py")
    parser.add_argument("--task", action="append", choices=list(TASKS), help="default: all")
    parser.add_argument("--method", action="append", choices=list(CONTENDERS), help="default: all")
    parser.add_argument("--seed", action="append", type=int, help="default: 0, 1 and 2")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--list", action="store_true", help="say what is done and what is not")
    parser.add_argument("--quick", action="store_true", help="small budgets, to try a cell")
    return parser.parse_args()


def main() -> int:
    """Run every wanted cell whose result is missing."""
    given = _arguments()
    folders = Folders(data=given.data, reference=given.reference, work=given.work)
    cells = wanted_cells(
        given.task or list(TASKS), given.method or list(CONTENDERS), given.seed or list(SEEDS)
    )
    missing = [cell for cell in cells if not cell.result(given.results).exists()]
    print(f"{len(cells) - len(missing)} of {len(cells)} cells are done", flush=True)
    if given.list:
        print("\n".join(f"missing: {cell.name}" for cell in missing))
        return 0
    for cell in missing:
        with _claimed(cell, folders.work) as mine:
            if not mine or cell.result(given.results).exists():
                continue
            started = time.monotonic()
            document = run_cell(cell, folders, quick=given.quick)
            path = cell.result(given.results)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(shortened(document), sort_keys=True) + "\n")
            print(f"{cell.name}: {(time.monotonic() - started) / 60:.1f} min", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
