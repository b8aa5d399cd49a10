"""The table of simulations counts runs, warnings and steps for what they are."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.explosion import Course, Plan, Warnings
from benchmarks.md_stability import ENSEMBLES, plans, summary

QUIET = Warnings(flagged=False, failed=False)
NOVEL = Warnings(flagged=True, failed=False)
FAILED = Warnings(flagged=True, failed=True)
STABLE = Course(
    plan=Plan(ensemble="nve", temperature_K=300.0, seed=0, n_steps=3),
    cause=None,
    totals=np.zeros(4),
    warnings=(QUIET, NOVEL, FAILED, QUIET),
    n_atoms=4,
)
WARNED = replace(STABLE, cause="collision", warnings=(QUIET, FAILED, QUIET, FAILED))
LATE = replace(STABLE, cause="broken-bond", warnings=(QUIET, QUIET, NOVEL, FAILED))


def test_the_summary_counts_stable_runs_and_warnings_before_explosions() -> None:
    hot = replace(STABLE, plan=replace(STABLE.plan, temperature_K=900.0))
    cool, other = summary([WARNED, STABLE, hot, LATE])
    assert isinstance(cool, dict)
    assert isinstance(other, dict)
    third = pytest.approx(1 / 3)
    assert cool["stable"] == {"count": 1, "of": 3, "fraction": third}
    assert cool["failed_flag_before_explosion"] == {"count": 1, "of": 2, "fraction": 0.5}
    assert cool["median_warning_fs"] == pytest.approx(2 * STABLE.plan.timestep_fs)
    assert cool["flagged_steps_of_stable_runs"] == {"count": 2, "of": 4, "fraction": 0.5}
    assert cool["failed_steps_of_stable_runs"] == {"count": 1, "of": 4, "fraction": 0.25}
    assert other["failed_flag_before_explosion"] == {"count": 0, "of": 0, "fraction": None}


def test_every_ensemble_and_temperature_gets_every_seed_once() -> None:
    made = plans((300.0, 500.0), n_seeds=3, n_steps=10, timestep_fs=0.5)
    assert len(set(made)) == len(made) == len(ENSEMBLES) * 2 * 3
    assert {plan.seed for plan in made[: len(ENSEMBLES) * 2]} == {0}
