"""Kernels are programs: what is kept of them is the user's alone."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from posterion.inference.fused import kernel as kernel_module
from posterion.inference.fused.kernel import CACHE_VARIABLE, Source, cache_folder, compiled


def multiplying(factor: float = 2.5) -> str:
    source = Source()
    source.define("multiply", "values")
    with source.loop("u", "values.shape[0]"):
        source.line(f"values[u] = {source.times(factor, 'values[u]')}")
    return source.text


def run() -> None:
    values = np.arange(3, dtype=np.float32)
    compiled(multiplying())(values)
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


def test_machine_code_that_two_processes_made_is_not_mixed_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numba counts what a process compiles, and names it by that."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "kernels"))
    told = "import sys, numpy; from posterion.inference.fused.kernel import compiled; "
    told += "compiled(sys.stdin.read())(numpy.ones(3, dtype=numpy.float32))"
    for factor in (3.0, 5.0):
        subprocess.run(
            [sys.executable, "-c", told], input=multiplying(factor), text=True, check=True
        )
    kernels = {factor: compiled(multiplying(factor)) for factor in (3.0, 5.0)}
    for factor, kernel in kernels.items():
        values = np.ones(3, dtype=np.float32)
        kernel(values)
        np.testing.assert_array_equal(values, np.full(3, factor))
    one, other = (
        {overload.fndesc.mangled_name for overload in kernel.overloads.values()}  # type: ignore[attr-defined]
        for kernel in kernels.values()
    )
    assert one.isdisjoint(other)


def test_machine_code_of_another_compiler_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    tmp_path.chmod(0o700)
    run()
    monkeypatch.setattr(kernel_module, "_how_it_is_compiled", lambda: b"otherwise")
    run()
    assert len(list(tmp_path.glob("kernel_*.py"))) == 2


def test_machine_code_lies_where_nobody_else_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "kernels"))
    before = os.umask(0o002)
    try:
        run()
    finally:
        os.umask(before)
    assert (tmp_path / "kernels" / "__pycache__").stat().st_mode & 0o777 == 0o700
