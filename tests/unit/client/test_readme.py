"""The code in the distribution's README runs as it stands, in one session."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_backend import STABLE
from tests.support.spring_service import spring_service
from tests.unit.client.examples import ETHANOL, FAR, URANIUM, molecule
from tests.unit.client.loopback import Server

README = Path(__file__).parents[3] / "clients/python/README.md"


def blocks() -> list[str]:
    return re.findall(
        r"^```python\n(.*?)^```$", README.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )


def test_every_block_runs(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # What labels teach, and sessions, need the real service.
    apart = (".learn(", "MDSession")
    told = [block for block in blocks() if not any(word in block for word in apart)]
    assert len(told) == 5
    monkeypatch.setenv("POSTERION_URL", server.url)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"frames": [ETHANOL, URANIUM, FAR], "atoms": molecule("CH3CH2OH")}
    for block in told:
        exec(compile(block, str(README), "exec"), names)  # noqa: S102 - our own text
    names["atoms"].calc.close()
    said = capsys.readouterr().out
    assert "unsupported-element refused as unsupported-element" in said
    assert " flagged\n" in said
    assert "energy_epistemic_std=0.003" in (tmp_path / "frame.extxyz").read_text("utf-8")


def test_the_block_of_a_run_does_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = [block for block in blocks() if "MDSession" in block]
    with spring_service() as service:
        monkeypatch.setenv("POSTERION_URL", service.url)
        exec(compile(block, str(README), "exec"), {})  # noqa: S102 - our own text
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[-1] == STABLE
