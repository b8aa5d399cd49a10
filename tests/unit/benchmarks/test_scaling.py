"""The benchmark of scaling measures points, and knows what it varies."""

from dataclasses import asdict

import pytest
from pydantic import JsonValue

from benchmarks.scaling import Point, batch_of, measure, per_sample, points


def test_a_point_says_what_it_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.scaling.SIZE", {"n_features": 4, "l_max": 1})
    row = measure(Point(sweep="samples", n_samples=2, n_structures=1), n_evaluations=1)
    assert (row["n_samples"], row["n_atoms"], row["sweep"]) == (2, 9, "samples")
    assert isinstance(row["milliseconds"], float)
    assert row["milliseconds"] > 0.0


def test_every_sweep_varies_one_thing() -> None:
    for name, field in (
        ("samples", "n_samples"),
        ("structures", "n_structures"),
        ("atoms", "n_waters"),
    ):
        swept = [asdict(point) for point in points(quick=False) if point.sweep == name]
        assert [key for key in swept[0] if len({row[key] for row in swept}) > 1] == [field]
    assert [len(atoms) for atoms in batch_of(Point(sweep="atoms", n_waters=4))] == [192]


def test_the_slope_is_that_of_the_samples_alone() -> None:
    rows: list[dict[str, JsonValue]] = [
        {"sweep": "samples", "n_samples": n, "ms": 3.0 * n + 1.0} for n in (1, 2, 4)
    ]
    rows.append({"sweep": "atoms", "n_samples": 8, "ms": 1000.0})
    assert per_sample(rows, "ms") == pytest.approx(3.0)
