"""All contenders of the benchmark of MD steps follow one trajectory."""

import numpy as np
import pytest

from benchmarks.md_step import measured, table


def test_a_quick_run_moves_every_contender_alike() -> None:
    document = measured(ray=False, n_rounds=1, n_steps=1)
    totals = document["final_total_energy_ev"]
    assert isinstance(totals, dict)
    assert totals.keys() == {"service", "session", "predictor", "committee"}
    assert totals["service"] == totals["predictor"] == totals["session"]
    assert totals["committee"] == pytest.approx(totals["service"], abs=1e-4)


def test_ratios_are_taken_within_rounds() -> None:
    rows = table({"service": np.array([1.0, 4.0, 2.0]), "other": np.array([2.0, 8.0, 4.0])})
    assert isinstance(rows["other"], dict)
    assert rows["other"]["time_over_service"] == [2.0, 2.0, 2.0]
    assert rows["other"]["steps_per_second"] == [250.0, 187.5, 375.0]
