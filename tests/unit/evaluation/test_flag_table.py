"""Flags and errors are counted as one counts them by hand."""

from io import StringIO
from typing import Literal, get_args

import numpy as np
import pytest
from rich.console import Console

from posterion.evaluation.flag_table import Proportion, flag_table
from posterion.evaluation.table import flags_as_table
from posterion.structures.prediction import Flag, FlagCode


def flag(code: FlagCode, severity: Literal["candidate", "failed"] = "candidate") -> Flag:
    return Flag(
        code=code,
        severity=severity,
        atoms=(),
        metric="any",
        value=1.0,
        threshold=0.5,
        unit="1",
        threshold_source="calibration",
        coverage=None,
        calibration_id=None,
    )


FLAGS = [
    [flag("force-epistemic-high", "failed"), flag("close-contact")],
    [flag("close-contact")],
    [],
    [],
    [flag("force-epistemic-high")],
    [],
]
ERRORS = np.array([0.9, 0.5, 0.4, 0.2, 0.05, 0.01])


def counts(of: Proportion) -> tuple[int, int]:
    return of.count, of.of


def test_each_code_is_counted_by_error() -> None:
    table = flag_table(FLAGS, ERRORS, low=0.1, high=0.3)
    rows = {row.code: row for row in table.rows}
    assert table.rows[0].code == "any"
    found = {
        code: [counts(one) for one in (row.flagged, row.failed, row.high_error, row.low_error)]
        for code, row in rows.items()
    }
    assert found["any"] == [(3, 6), (1, 6), (2, 3), (1, 2)]
    assert found["force-epistemic-high"] == [(2, 6), (1, 6), (1, 3), (1, 2)]
    assert found["close-contact"] == [(2, 6), (0, 6), (2, 3), (0, 2)]
    assert found["isolated-atom"] == [(0, 6), (0, 6), (0, 3), (0, 2)]
    assert counts(rows["any"].between) == (0, 1)


def test_an_error_at_a_threshold_lies_between() -> None:
    row = flag_table([[], []], np.array([0.1, 0.3]), low=0.1, high=0.3).rows[0]
    assert (row.high_error.of, row.between.of, row.low_error.of) == (0, 2, 0)


def test_wilsons_interval_is_that_of_its_formula() -> None:
    proportion = Proportion(count=3, of=20)
    z, n, p = 1.959963984540054, 20, 0.15
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert proportion.interval == pytest.approx((centre - half, centre + half), rel=1e-9)
    assert proportion.fraction == p


def test_no_frames_have_no_fraction() -> None:
    nothing = Proportion(count=0, of=0)
    assert nothing.fraction is None
    assert nothing.interval is None


def test_every_code_is_whole_at_eighty_columns() -> None:
    codes: tuple[FlagCode, ...] = get_args(FlagCode)
    everything = [[flag(code) for code in codes]] * 1000
    counted = flag_table(everything, np.linspace(0.0, 1.0, 1000), low=0.1, high=0.3)
    text = StringIO()
    Console(file=text, width=80).print(flags_as_table(counted))
    assert [code for code in codes if code not in text.getvalue()] == []
    assert "…" not in text.getvalue()
