"""Every result says when, where and with what it was measured."""

import importlib.metadata
import json
from pathlib import Path

from benchmarks.stamp import write_result


def test_a_result_carries_its_stamp_and_has_the_last_word(tmp_path: Path) -> None:
    path = tmp_path / "new" / "result.json"
    write_result(path, {"rows": [1.5], "load_average": [0.0]}, packages=("numpy",))
    document = json.loads(path.read_text())
    assert document["rows"] == [1.5]
    assert document["load_average"] == [0.0]
    assert document["software"]["numpy"] == importlib.metadata.version("numpy")
    assert document.keys() >= {"format_version", "created_at", "hardware"}
