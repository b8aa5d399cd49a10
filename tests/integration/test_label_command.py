"""``posterion explore`` and ``posterion label`` as they are typed, killed and typed again."""

import subprocess
import sysconfig
import time
from pathlib import Path

import ase.io
import pytest
from ase.build import bulk

from posterion.cli import main
from posterion.labelling.reference import EmtReference
from posterion.structures.ase_io import read_frames
from tests.support.services import is_alive

POSTERION = Path(sysconfig.get_path("scripts")) / "posterion"
DEADLINE_S = 120.0
POLL_S = 0.02
N_FRAMES = 80
N_CELLS = 2
"""Cells along each axis; one label of that crystal takes tens of milliseconds."""


def run_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str | Path
) -> tuple[object, str]:
    """The same command in this process, which spares an import: exit code and stderr."""
    monkeypatch.setattr("sys.argv", [str(POSTERION), *map(str, words)])
    with pytest.raises(SystemExit) as exit_:
        main()
    return exit_.value.code, capsys.readouterr().err


def explore(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], start: Path, out: Path
) -> tuple[object, str]:
    size = ("--frames", "4", "--trajectories", "2", "--spacing", "5", "--temperature", "300")
    words = ("--calculator", "emt", *size, "--out", out)
    return run_here(monkeypatch, capsys, "explore", start, *words)


def test_explored_and_labelled_frames_are_ready_to_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start, visited, out = (tmp_path / f"{name}.extxyz" for name in ("start", "visited", "out"))
    ase.io.write(start, bulk("Cu", cubic=True))
    assert explore(monkeypatch, capsys, start, visited) == (0, "")
    assert run_here(monkeypatch, capsys, "label", visited, "--calculator", "emt", "--out", out) == (
        0,
        "",
    )
    frames = read_frames(out)
    assert len(frames) == 4
    for frame, driven in zip(frames, read_frames(visited), strict=True):
        assert frame.level_of_theory == EmtReference().level_of_theory
        assert frame.energy == pytest.approx(driven.energy, abs=1e-6)

    code, message = explore(monkeypatch, capsys, start, visited)
    assert code == 2
    assert "visited.extxyz: expected a new file, this one exists" in message


def test_failed_frames_are_named_and_the_others_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given, out = tmp_path / "given.xyz", tmp_path / "out.extxyz"
    ase.io.write(given, [bulk("Cu"), bulk("U", "bcc", a=3.47), bulk("Al")], format="extxyz")
    code, message = run_here(
        monkeypatch, capsys, "label", given, "--calculator", "emt", "--out", out
    )
    assert code == 1
    assert message.startswith("posterion: labelling-incomplete: 1 of 3 frames have no label: 1 (")
    assert [frame.structure.atomic_numbers[0] for frame in read_frames(out)] == [29, 13]


def test_unknown_molecule_and_overwritten_input_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, message = explore(monkeypatch, capsys, Path("H3O"), tmp_path / "out.extxyz")
    assert code == 2
    assert "expected a file or a molecule that ase.build.molecule knows, got 'H3O'" in message
    given = tmp_path / "given.extxyz"
    ase.io.write(given, bulk("Cu"))
    content = given.read_bytes()
    code, message = run_here(
        monkeypatch, capsys, "label", given, "--calculator", "emt", "--out", given
    )
    assert code == 2
    assert "expected another file than the input" in message
    assert given.read_bytes() == content


def killed_halfway(command: list[str], out: Path) -> list[int]:
    """SIGKILL to the parent alone; the process numbers of the workers it had."""
    deadline = time.monotonic() + DEADLINE_S
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while not out.exists() or out.read_bytes().count(b"source_index=") < N_FRAMES // 6:
            assert process.poll() is None, "the command ended before it could be killed"
            assert time.monotonic() < deadline, "no labels appear"
            time.sleep(POLL_S)
        tasks = Path(f"/proc/{process.pid}/task")
        children = [path.read_text().split() for path in tasks.glob("*/children")]
        process.kill()
    return [int(number) for numbers in children for number in numbers]


def test_killed_command_started_again_writes_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given, cut, straight = (tmp_path / f"{name}.extxyz" for name in ("given", "cut", "straight"))
    crystal = bulk("Cu", cubic=True).repeat(N_CELLS)
    frames = []
    for seed in range(N_FRAMES):
        frames.append(crystal.copy())
        frames[-1].rattle(0.05, seed=seed)
    ase.io.write(given, frames)
    words = ("label", given, "--calculator", "emt")
    command = [str(POSTERION), *map(str, words), "--out", str(cut), "--jobs", "2"]
    workers = killed_halfway(command, cut)
    written = cut.read_bytes().count(b"source_index=")
    assert written < N_FRAMES
    assert run_here(monkeypatch, capsys, *words, "--out", cut) == (0, "")
    assert run_here(monkeypatch, capsys, *words, "--out", straight) == (0, "")
    assert cut.read_bytes() == straight.read_bytes()
    assert [number for number in workers if is_alive(number)] == []
