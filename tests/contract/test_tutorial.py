"""The tutorial's commands exist, its configuration is valid, and all of it runs when reduced."""

import re
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import ase.io
import pytest
import typer.main
import yaml

from posterion.cli import app
from posterion.training.config import TrainingConfig
from tests.support.services import running_service

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
SCRIPTS = Path(sysconfig.get_path("scripts"))
REFERENCE = "--calculator pyscf --set xc=PBE --set basis=def2-SVP"
REDUCED = {
    "--frames 320": "--frames 60 --spacing 5 --trajectories 3",
    "--frames 50": "--frames 12 --spacing 5 --trajectories 2",
    REFERENCE: "--calculator tblite",
    "--store models\n": "--store models --accept-diagnostics\n",
}
"""What makes the commands short; each of these texts must be there to be replaced."""

SMALL: dict[str, dict[str, object]] = {
    "data": {"n_train": 20, "n_calibration": 25, "n_report": 15},
    "network": {"n_features": 4},
    "pretraining": {"steps": 30},
    "method": {
        "ramp_steps": 5,
        "burn_in_steps": 10,
        "burn_in_rounds": 2,
        "thinning_steps": 4,
        "n_samples": 3,
    },
}


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language."""
    fence = rf"^```{language}\n(.*?)^```$"
    return re.findall(fence, TUTORIAL.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def configuration() -> dict[str, Any]:
    (text,) = blocks("yaml")
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def commands() -> list[list[str]]:
    return [shlex.split(line) for block in blocks("bash") for line in block.splitlines()]


def test_every_command_is_understood() -> None:
    group: Any = typer.main.get_command(app)
    names = []
    for program, name, *words in commands():
        assert program == "posterion"
        group.commands[name].make_context(name, words)
        names.append(name)
    assert names == ["explore"] * 3 + ["label"] * 3 + ["train", "evaluate", "serve"]


def test_configuration_is_valid_and_its_files_are_written_by_the_commands() -> None:
    config = TrainingConfig.model_validate(configuration())
    written = {words[words.index("--out") + 1] for words in commands() if "--out" in words}
    assert {str(path) for path in config.data.files} <= written


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_the_whole_tutorial_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tblite")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(SCRIPTS), prepend=":")
    small = configuration()
    for section, changes in SMALL.items():
        assert changes.keys() <= small[section].keys()
        small[section] |= changes
    Path("formaldehyde.yaml").write_text(yaml.safe_dump(small))
    *steps, served = blocks("bash")
    script = "".join(steps)
    for text, shorter in REDUCED.items():
        assert text in script
        script = script.replace(text, shorter)
    subprocess.run(["bash", "-euc", script], check=True, timeout=500)
    assert Path("scores.json").stat().st_size > 0

    with running_service(*shlex.split(served)[2:]) as service:
        monkeypatch.setenv("POSTERION_URL", service.url)
        for block in blocks("python"):
            exec(compile(block, str(TUTORIAL), "exec"), {})  # noqa: S102 - our own text
    said = capsys.readouterr().out
    assert len(re.findall(r"^-\d+\.\d{3} eV, forces to within \d", said, re.MULTILINE)) == 2
    first, *_ = ase.io.read("md.extxyz", index=":")
    assert {"energy_std", "forces_std"} <= first.info.keys() | first.arrays.keys()
