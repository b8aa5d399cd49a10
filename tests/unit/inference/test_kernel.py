"""Kernels are programs: what is kept of them is the user's alone."""

import logging
from pathlib import Path

import numpy as np
import pytest

from posterion.inference.fused.kernel import CACHE_VARIABLE, Source, cache_folder, compiled


def doubling() -> str:
    source = Source()
    source.define("double", "values")
    with source.loop("u", "values.shape[0]"):
        source.line(f"values[u] = {source.times(2.5, 'values[u]')}")
    return source.text


def run() -> None:
    values = np.arange(3, dtype=np.float32)
    compiled(doubling())(values)
    np.testing.assert_array_equal(values, [0.0, 2.5, 5.0])


def test_machine_code_is_kept_where_the_user_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "kernels"))
    run()
    folder = tmp_path / "kernels"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert len(list(folder.glob("kernel_*.py"))) == 1
    kept = {path: path.stat().st_mtime_ns for path in folder.rglob("*.nbc")}
    assert len(kept) == 1
    run()
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.nbc")} == kept


def test_a_folder_that_others_can_write_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    tmp_path.chmod(0o777)
    with caplog.at_level(logging.WARNING):
        run()
    assert list(tmp_path.iterdir()) == []
    assert f"others than you can write to {tmp_path}" in caplog.text


def test_nothing_is_kept_where_nothing_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "kernels"))
    with caplog.at_level(logging.WARNING):
        run()
    assert "kernels are not kept" in caplog.text
    monkeypatch.setenv(CACHE_VARIABLE, "")
    assert cache_folder() is None
    run()
