"""What a chain writes down while it runs: a CSV of averages, and TensorBoard events if wanted."""

import csv
import importlib
import io
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from posterion.errors import ConfigurationError
from posterion.training.chain_setup import StepReport
from posterion.training.checkpoint import write_atomically

LOG_COLUMNS: Final = (
    "step", "phase", "potential", "force_mae", "temperature", "t_kin", "t_conf",
    "learning_rate", "seconds",
)  # fmt: skip
AVERAGED: Final = ("potential", "force_mae", "t_kin", "t_conf")


class EventFiles(Protocol):
    """What is asked of a TensorBoard writer."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """Write one number."""


class ChainLog:
    """A CSV of averages over ``log_every`` steps; rows after the resumed step are dropped.

    Args:
        path: The CSV.
        resume_at: Steps done.
        events: Where the averages go as well, or None.
    """

    def __init__(self, path: Path, *, resume_at: int, events: EventFiles | None = None) -> None:
        self._path = path
        self._events = events
        self._pending: list[StepReport] = []
        self._began = time.monotonic()
        kept = [row for row in _whole_rows(path) if int(row[0]) <= resume_at]
        text = io.StringIO(newline="")
        csv.writer(text).writerows([list(LOG_COLUMNS), *kept])
        write_atomically(path, text.getvalue().encode())

    def add(self, step: StepReport) -> None:
        """Remember a step for the next row."""
        self._pending.append(step)

    def write(self, step: int) -> str:
        """Append a row of averages over the steps of its phase; return it for people."""
        last = self._pending[-1]
        steps = [pending for pending in self._pending if pending.plan.phase is last.plan.phase]
        self._pending = []
        potential = _mean([s.potential for s in steps])
        error = _mean([s.force_error for s in steps])
        kinetic = _mean([s.kinetic for s in steps])
        configurational = _mean([s.configurational for s in steps])
        row = [
            step, last.plan.phase.value, f"{potential:.6g}", f"{error:.6g}",
            f"{last.plan.temperature:.4g}", f"{kinetic:.4g}", f"{configurational:.4g}",
            f"{last.learning_rate:.4g}", f"{time.monotonic() - self._began:.1f}",
        ]  # fmt: skip
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(row)
        if self._events is not None:
            averages = (potential, error, kinetic, configurational)
            for name, value in zip(AVERAGED, averages, strict=True):
                if not math.isnan(value):
                    self._events.add_scalar(name, value, step)
        warm = "" if math.isnan(kinetic) else f", T_kin {kinetic:.2f}"
        return f"{last.plan.phase.value}: force MAE {1000 * error:.1f} meV/A{warm}"


def open_event_files(folder: Path, *, resume_at: int) -> EventFiles:
    """Write TensorBoard event files; events after the resumed step are hidden.

    Args:
        folder: Where the files go.
        resume_at: Steps done.

    Raises:
        ConfigurationError: If the package ``tensorboard`` is not installed.
    """
    try:
        module = importlib.import_module("torch.utils.tensorboard")
    except ImportError as error:
        raise ConfigurationError(
            "execution.tensorboard is true, but the package tensorboard is not installed; "
            "install posterion[tensorboard], or write false: the CSV log holds the same numbers"
        ) from error
    writer: EventFiles = module.SummaryWriter(str(folder), purge_step=resume_at + 1, flush_secs=30)
    return writer


def _whole_rows(path: Path) -> Sequence[Sequence[str]]:
    """Rows below the header; one that a kill cut off is left out."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    return [row for row in rows if len(row) == len(LOG_COLUMNS) and row[0] != LOG_COLUMNS[0]]


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if not math.isnan(value)]
    return sum(finite) / len(finite) if finite else math.nan
