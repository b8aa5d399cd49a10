"""The comparison is at equal cost only if every contender spends what it was given."""

from pathlib import Path

import pytest
from pydantic import JsonValue

from benchmarks.uq_cells import SEEDS, Cell, configuration, wanted_cells
from benchmarks.uq_frames import Folders
from benchmarks.uq_methods import CONTENDERS, N_SAMPLES, sections
from benchmarks.uq_quality import shortened
from benchmarks.uq_tasks import ONE_SEED, TASKS, Task
from posterion.training.config import TrainingConfig
from posterion.training.methods.registry import method_of
from tests.support.data import REAL_DATA

BUDGET = 24_000


def configurations(
    method: str, budget: int = BUDGET
) -> tuple[TrainingConfig | None, TrainingConfig]:
    task = Task(
        name="ethanol",
        title="ethanol",
        level_of_theory="none",
        source="made up",
        data={"files": ["x.extxyz"], "n_train": 100, "n_calibration": 20, "n_report": 10},
        strange=(),
        budget=budget,
    )
    return configuration(Cell(task="ethanol", method=method, seed=0), task, budget=budget)


@pytest.mark.parametrize("method", CONTENDERS)
def test_a_contender_spends_its_budget_and_no_more(method: str) -> None:
    spent = sum(
        config.n_chains * method_of(config).n_steps
        for config in configurations(method)
        if config is not None
    )
    given = CONTENDERS[method].cost * BUDGET
    assert 0.97 * given <= spent <= given


@pytest.mark.parametrize("method", [name for name in CONTENDERS if CONTENDERS[name].chain])
def test_chains_are_evaluated_at_equal_cost(method: str) -> None:
    _, config = configurations(method)
    assert config.n_chains * config.method.model_dump()["n_samples"] == N_SAMPLES


def test_a_budget_too_small_for_a_chain_is_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        sections(CONTENDERS["sghmc-4"], budget=1000)


def test_tasks_of_one_seed_have_few_cells() -> None:
    cells = wanted_cells(list(TASKS), list(CONTENDERS), SEEDS)
    assert len(cells) == len(set(cells))
    for task in TASKS:
        seeds = {cell.seed for cell in cells if cell.task == task}
        assert seeds == ({0} if task in ONE_SEED else set(SEEDS))


def test_tasks_name_disjoint_frames(tmp_path: Path) -> None:
    if not REAL_DATA.is_dir():
        pytest.skip("needs the ab initio data sets")
    folders = Folders(data=REAL_DATA, reference=None, work=tmp_path)
    for make in TASKS.values():
        task = make(folders)
        trained_on = {str(name) for name in task.data["files"]}  # type: ignore[union-attr]
        assert not trained_on & {str(one.path) for one in task.strange}
        assert all(one.path.exists() for one in task.strange)


def test_results_keep_six_digits() -> None:
    document: JsonValue = {"a": [1.23456789, {"b": -9.87654321e-9}], "n": 12345678, "none": None}
    assert shortened(document) == {"a": [1.23457, {"b": -9.87654e-9}], "n": 12345678, "none": None}
