"""The cells of the comparison of uncertainty methods, and how each is trained."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from benchmarks.uq_methods import CONTENDERS, ONE_SEED_CONTENDERS, sections, trunk_sections
from benchmarks.uq_tasks import ONE_SEED, Task
from posterion.training.config import TrainingConfig

SEEDS: Final = (0, 1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One method on one task with one seed."""

    task: str
    method: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its bank."""
        return f"{self.task}-{self.method}-{self.seed}"

    @property
    def training(self) -> str:
        """Name of its run folder: cells that optimise the same networks have the same one."""
        return f"{self.task}-{CONTENDERS[self.method].training or self.method}-{self.seed}"

    def result(self, results: Path) -> Path:
        """File of its scores."""
        return results / self.task / f"{self.method}-{self.seed}.json"


def wanted_cells(tasks: Sequence[str], methods: Sequence[str], seeds: Sequence[int]) -> list[Cell]:
    """The cells of the table, the first seed of everything before the second."""
    return [
        Cell(task=task, method=method, seed=seed)
        for seed in seeds
        for task in tasks
        for method in methods
        if task not in ONE_SEED or (seed == SEEDS[0] and method in ONE_SEED_CONTENDERS)
    ]


def configuration(
    cell: Cell, task: Task, *, budget: int, store: str = ""
) -> tuple[TrainingConfig | None, TrainingConfig]:
    """The training runs of a cell: that of the trunk, if it has one, and its own.

    Args:
        cell: Task, method and seed.
        task: The task itself.
        budget: Minibatch gradients at cost 1.
        store: Where the trunk is published.

    Returns:
        Both configurations.
    """
    contender = CONTENDERS[cell.method]
    own = sections(contender, budget=budget, epsilon=task.epsilon)
    if not contender.trunk:
        return None, _configuration(cell.name, cell, task, own)
    name = f"{cell.training}-trunk"
    trunk = _configuration(name, cell, task, trunk_sections(contender, budget=budget))
    own["prior"] = {"kind": "transfer", "store": store, "bank": name, "std": 1.0}
    return trunk, _configuration(cell.name, cell, task, own)


def _configuration(
    name: str, cell: Cell, task: Task, own: Mapping[str, JsonValue]
) -> TrainingConfig:
    return TrainingConfig.model_validate(
        {
            "name": name,
            "description": f"Benchmark uq_quality: {task.title}.",
            "licence": "not for distribution",
            "level_of_theory": task.level_of_theory,
            "data_source": task.source,
            "batch_size": task.batch_size,
            "seed": cell.seed,
            "data": dict(task.data),
            "network": dict(task.network),
            "likelihood": dict(task.likelihood),
            "execution": {
                "device": "auto",
                "compile": "always" if shutil.which("g++") else "never",
                "max_parallel_chains": 1,
                "log_every": 100,
            },
            **own,
        }
    )
