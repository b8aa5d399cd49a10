"""The code in the distribution's README runs as it stands, in one session."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.client.examples import ETHANOL, FAR, URANIUM, molecule
from tests.unit.client.loopback import Server

README = Path(__file__).parents[3] / "clients/python/README.md"


def test_every_block_runs(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    blocks = re.findall(
        r"^```python\n(.*?)^```$", README.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    # What labels teach needs the real service: tests/integration/http/test_labels.py.
    blocks = [block for block in blocks if ".learn(" not in block]
    assert len(blocks) == 5
    monkeypatch.setenv("POSTERION_URL", server.url)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"frames": [ETHANOL, URANIUM, FAR], "atoms": molecule("CH3CH2OH")}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)  # noqa: S102 - our own text
    names["atoms"].calc.close()
    said = capsys.readouterr().out
    assert "unsupported-element refused as unsupported-element" in said
    assert " flagged\n" in said
    assert "energy_epistemic_std=0.003" in (tmp_path / "frame.extxyz").read_text("utf-8")
