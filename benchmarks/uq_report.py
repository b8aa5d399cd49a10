"""Tables and pictures of what ``benchmarks/uq_quality.py`` measured.

    python -m benchmarks.uq_report [--results DIR] [--docs DIR]

Writes ``uq_quality.md`` and one picture per task to ``docs/science``. Values are means over
seeds, with the standard deviation over seeds where there are two or more.
"""

import argparse
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from benchmarks.uq_methods import CONTENDERS
from benchmarks.uq_quality import RESULTS
from benchmarks.uq_tasks import TASKS

DOCS: Final = Path(__file__).parents[1] / "docs" / "science"

Document = Mapping[str, Any]

ORDINARY_SET: Final = "ordinary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes:
        title: Head of the column.
        path: Keys that lead to the score in a set's document, ``a/b/c``.
        factor: Multiplies the value.
        digits: Decimals shown.
    """

    title: str
    path: str
    factor: float = 1.0
    digits: int = 2


ORDINARY: Final = (
    Column(title="force MAE, meV/Å", path="scores/forces/mae", factor=1e3, digits=1),
    Column(title="NLL", path="scores/forces/nll_mixture"),
    Column(title="CRPS, meV/Å", path="scores/forces/crps_mixture", factor=1e3),
    Column(title="miscalibration area", path="scores/forces/miscalibration_area", digits=3),
    Column(title="90 % coverage", path="scores/forces/coverage_90", digits=3),
    Column(title="Spearman", path="scores/atom/spearman/total"),
    Column(title="energy MAE, meV", path="scores/energy/mae", factor=1e3, digits=1),
)
STRANGE: Final = (
    Column(title="force MAE, meV/Å", path="scores/forces/mae", factor=1e3, digits=1),
    Column(title="NLL", path="scores/forces/nll_mixture"),
    Column(title="95 % coverage", path="scores/forces/coverage_95", digits=3),
    Column(title="Spearman", path="scores/atom/spearman/total"),
    Column(
        title="AUROC, spread",
        path="out_of_distribution/structure_max/auroc/out_of_distribution/epistemic",
        digits=3,
    ),
    Column(
        title="AUROC, noise",
        path="out_of_distribution/structure_max/auroc/out_of_distribution/aleatoric",
        digits=3,
    ),
    Column(
        title="AUROC, latent",
        path="out_of_distribution/structure_max/auroc/out_of_distribution/latent",
        digits=3,
    ),
)


def read_results(folder: Path) -> dict[str, dict[str, list[Document]]]:
    """Results of whole runs by task and method, in the order of the tables."""
    found: dict[str, dict[str, list[Document]]] = {}
    for task in TASKS:
        by_method: dict[str, list[Document]] = {}
        for method in CONTENDERS:
            paths = sorted((folder / task).glob(f"{method}-[0-9]*.json"))
            documents = [json.loads(path.read_text()) for path in paths]
            whole = [document for document in documents if not document["quick"]]
            if whole:
                by_method[method] = whole
        if by_method:
            found[task] = by_method
    return found


def report(results: Mapping[str, Mapping[str, Sequence[Document]]]) -> str:
    """The whole page, Markdown."""
    lines = [
        "# Uncertainty methods side by side",
        "",
        (
            "Written by `python -m benchmarks.uq_report` from `benchmarks/results/uq_quality`; "
            "`benchmarks/uq_tasks.py` and `uq_methods.py` say what each cell is. Cost is training, "
            "in minibatch gradients over all members, relative to the budget of the task (more "
            "than planned where a divergence made a chain run longer); K is the number of networks "
            "evaluated per answer. NLL in nats per force component, exact mixture, after "
            "calibration on held-out frames. AUROC tells strange frames from ordinary ones by the "
            "largest value over the atoms of a frame. Means over seeds, ± the standard deviation "
            "over seeds. Rows appear as cells are measured: one seed is no comparison yet."
        ),
    ]
    for task, by_method in results.items():
        lines += ["", *_task_lines(task, by_method)]
    return "\n".join(lines) + "\n"


def _task_lines(task: str, by_method: Mapping[str, Sequence[Document]]) -> list[str]:
    every = [document for documents in by_method.values() for document in documents]
    dates = sorted(document["created_at"][:10] for document in every)
    machines = sorted({document["hardware"]["cpu"] for document in every})
    first = every[0]
    lines = [
        f"## {first['task_title']}",
        "",
        (
            f"{first['level_of_theory']}; budget {first['budget_gradient_evaluations']} gradients "
            f"of {first['configuration']['batch_size']} frames; {dates[0]} to {dates[-1]}; "
            f"{', '.join(machines)}."
        ),
        "",
        f"![Scores of every method](../images/uq_quality_{task}.png)",
        "",
        "**Ordinary frames**",
        "",
        *_table(by_method, ORDINARY, ORDINARY_SET),
    ]
    for name in _strange_names(every):
        lines += [
            "",
            f"**{name}**",
            "",
            *_table(by_method, STRANGE, name),
        ]
    return lines


def _strange_names(documents: Sequence[Document]) -> list[str]:
    return sorted({name for document in documents for name in document["judged"][-1]["strange"]})


def _table(
    by_method: Mapping[str, Sequence[Document]],
    columns: Sequence[Column],
    name: str,
) -> list[str]:
    head = ["method", "cost", "K", "seeds", *(column.title for column in columns)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for method, documents in by_method.items():
        by_count: dict[int, list[Document]] = defaultdict(list)
        for document in documents:
            for judged in document["judged"]:
                chosen = _set(judged, name)
                if chosen is not None:
                    by_count[judged["n_samples"]].append(chosen)
        for n_samples, sets in sorted(by_count.items(), reverse=True):
            contender = CONTENDERS[method]
            cost = statistics.fmean(
                document["gradient_evaluations"] / document["budget_gradient_evaluations"]
                for document in documents
            )
            cells = [contender.title, f"{cost:.3g}", f"{n_samples}", f"{len(sets)}"]
            cells += [_cell(sets, column) for column in columns]
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def _set(judged: Document, name: str) -> Document | None:
    """The ordinary frames, or a strange set by name, None if it was not judged."""
    chosen: Document | None = (
        judged[ORDINARY_SET] if name == ORDINARY_SET else judged["strange"].get(name)
    )
    return chosen


def _cell(sets: Sequence[Document], column: Column) -> str:
    values = values_of(sets, column)
    if not values:
        return "–"
    mean = f"{statistics.fmean(values):.{column.digits}f}"
    if len(values) < 2:
        return mean
    return f"{mean} ± {statistics.stdev(values):.{column.digits}f}"


def values_of(sets: Sequence[Document], column: Column) -> list[float]:
    """The column's value in each set that has it."""
    values = []
    for one in sets:
        place: Any = one
        for key in column.path.split("/"):
            place = place.get(key) if isinstance(place, Mapping) else None
        if isinstance(place, Mapping) and place.get("value") is not None:
            values.append(column.factor * place["value"])
    return values


def draw(by_method: Mapping[str, Sequence[Document]], path: Path) -> None:
    """NLL of every method, all samples, on every set of a task: one panel per set."""
    documents = [document for group in by_method.values() for document in group]
    panels = [
        ("ordinary", ORDINARY[1]),
        *((name, STRANGE[1]) for name in _strange_names(documents)),
    ]
    figure, axes = plt.subplots(
        1,
        len(panels),
        figsize=(3.2 * len(panels) + 2.2, 0.34 * len(by_method) + 1.3),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    titles = [CONTENDERS[method].title for method in by_method]
    for axis, (name, column) in zip(axes[0], panels, strict=True):
        for row, group in enumerate(by_method.values()):
            last = [document["judged"][-1] for document in group]
            sets = [_set(judged, name) for judged in last]
            values = values_of([one for one in sets if one is not None], column)
            axis.plot(values, [row] * len(values), "o", color="tab:blue", alpha=0.6)
            if values:
                axis.plot(statistics.fmean(values), row, "|", color="black", markersize=14)
        axis.set_title(name)
        if name != ORDINARY_SET:
            axis.set_xscale("symlog", linthresh=1.0)  # confident errors reach hundreds of nats
        axis.set_xlabel("NLL, nat per force component")
        axis.grid(axis="x", alpha=0.3)
    axes[0][0].set_yticks(range(len(titles)), titles)
    axes[0][0].invert_yaxis()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> int:
    """Write page and pictures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.uq_report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the page")
    given = parser.parse_args()
    results = read_results(given.results)
    if not results:
        print(f"no result of a whole run in {given.results}")
        return 1
    (given.docs / "uq_quality.md").write_text(report(results))
    for task, by_method in results.items():
        draw(by_method, given.docs.parent / "images" / f"uq_quality_{task}.png")
    print(f"wrote {given.docs / 'uq_quality.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
