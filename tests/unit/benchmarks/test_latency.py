"""The benchmark of latency asks real services, and compares each with its own floor."""

import numpy as np
import pytest

from benchmarks.latency import null_stage
from benchmarks.latency_cases import Contender, grid, table, take_turns


def test_a_quick_run_asks_every_path_of_the_service() -> None:
    rows = null_stage("in-process", sizes=(9,), n_rounds=1, n_each=2)
    floors = {f"floor {encoding} 9" for encoding in ("msgpack", "json")}
    raw = {f"in-process {kind} 9" for kind in ("msgpack", "json", "frame", "session")}
    library = {f"in-process, client library {encoding} 9" for encoding in ("msgpack", "json")}
    assert rows.keys() == floors | raw | library
    for name, row in rows.items():
        assert isinstance(row, dict)
        assert ("of_the_floor" in row) == (name not in floors)


def test_ratios_are_taken_within_rounds() -> None:
    contenders = {
        "floor": Contender(lambda: None),
        "asked": Contender(lambda: None, floor="floor"),
    }
    floor = np.array([[1.0, 1.0], [10.0, 10.0], [2.0, 2.0]])
    rows = table(contenders, {"floor": floor, "asked": 3.0 * floor})
    assert rows["asked"] == {"p50_ms": 6.0, "p99_ms": pytest.approx(30.0), "of_the_floor": 3.0}


def test_contenders_take_turns_after_a_round_to_warm_up() -> None:
    asked: list[str] = []
    contenders = {name: Contender(lambda name=name: asked.append(name)) for name in "ab"}  # type: ignore[misc]
    times = take_turns(contenders, n_rounds=2, n_each=2)
    assert "".join(asked) == 3 * "aabb"
    assert {each.shape for each in times.values()} == {(2, 2)}


def test_grids_have_the_atoms_that_are_asked_for() -> None:
    assert [grid(n).n_atoms for n in (2, 27, 192)] == [2, 27, 192]
