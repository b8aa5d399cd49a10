"""The benchmark of latency asks real services, and compares each with its own floor."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.latency import null_stage
from benchmarks.latency_cases import Contender, compiled_library, grid, table, take_turns
from posterion_client.selftest._native import Build


def test_a_quick_run_asks_every_path_of_the_service() -> None:
    rows = null_stage("in-process", sizes=(9,), n_rounds=1, n_each=2)
    floors = {f"floor {encoding} 9" for encoding in ("msgpack", "json")}
    raw = {f"in-process {kind} 9" for kind in ("msgpack", "json", "frame", "session")}
    library = {f"in-process, client library {encoding} 9" for encoding in ("msgpack", "json")}
    runs = {f"in-process, MDSession over {way} 9" for way in ("websocket", "http")}
    # The one in C is measured where it compiles.
    compiled = {f"in-process, C client over {way} 9" for way in ("websocket", "http")}
    assert rows.keys() - compiled == floors | raw | library | runs
    assert len(rows.keys() & compiled) in (0, 2)
    for name, row in rows.items():
        assert isinstance(row, dict)
        assert ("of_the_floor" in row) == (name not in floors)


def test_without_a_compiler_the_library_in_c_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compiled_library(Build("c")) is None
    assert "no C client here" in capsys.readouterr().err


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
    # In every turn one more request is asked than is timed.
    assert "".join(asked) == "aabb" + 2 * "aaabbb"
    assert {each.shape for each in times.values()} == {(2, 2)}


def test_grids_have_the_atoms_that_are_asked_for() -> None:
    assert [grid(n).n_atoms for n in (2, 27, 192)] == [2, 27, 192]
