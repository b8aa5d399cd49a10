"""Labels are the calculator's, failures cost only themselves, and a killed run continues."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from posterion.errors import ConfigurationError, DatasetError
from posterion.labelling.frame_file import FrameFile
from posterion.labelling.labels import finished, label
from posterion.labelling.reference import EmtReference, LennardJonesReference

EMT = EmtReference()
N_FRAMES = 4


def frames() -> list[Atoms]:
    """Rattled copper, the third with an element EMT does not know."""
    rattled = []
    for seed in range(N_FRAMES):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=seed)
        atoms.info["origin"] = f"seed {seed}"
        rattled.append(atoms)
    rattled[2].symbols[0] = "U"
    return rattled


def write_all(path: Path, *, n_jobs: int = 1) -> dict[int, str]:
    """Label what the file lacks; what failed, with reasons."""
    given, file = frames(), FrameFile(path)
    done = finished(given, EMT, file)
    failed = {}
    todo = [index for index in range(len(given)) if index not in done]
    for outcome in label(given, todo, EMT, n_jobs=n_jobs):
        if outcome.frame is None:
            failed[outcome.index] = outcome.reason
        else:
            file.append(outcome.frame)
    return failed


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("complete") / "labels.extxyz"
    failed = write_all(path)
    assert failed.keys() == {2}
    assert "U" in failed[2]
    return path


def test_labels_are_those_of_the_calculator(complete: Path) -> None:
    written = FrameFile(complete).recover()
    assert [frame.info["source_index"] for frame in written] == [0, 1, 3]
    for frame in written:
        asked = frames()[frame.info["source_index"]]
        assert frame.info["origin"] == asked.info["origin"]
        assert frame.info["level_of_theory"] == EMT.level_of_theory
        asked.calc = EMT.calculator()
        assert frame.get_potential_energy() == pytest.approx(asked.get_potential_energy())
        np.testing.assert_allclose(frame.get_forces(), asked.get_forces(), atol=1e-7)


def test_file_cut_off_anywhere_is_completed_to_the_same_bytes(
    complete: Path, tmp_path: Path
) -> None:
    content = complete.read_bytes()
    path = tmp_path / "labels.extxyz"
    lines = content.splitlines(keepends=True)
    frame = sum(map(len, lines[: len(lines) // 3]))
    cuts = (0, 1, 7, frame - 1, frame, frame + 2, 2 * frame + 30, len(content) - 1, len(content))
    for cut in cuts:
        path.write_bytes(content[:cut])
        write_all(path)
        assert path.read_bytes() == content, f"cut off after {cut} bytes"


def test_processes_side_by_side_write_the_same_file(complete: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.extxyz"
    assert write_all(path, n_jobs=2).keys() == {2}
    assert path.read_bytes() == complete.read_bytes()


def test_labels_of_other_geometries_or_levels_are_not_continued(complete: Path) -> None:
    file = FrameFile(complete)
    moved = frames()
    moved[1].positions[0, 0] += 1e-3
    with pytest.raises(ConfigurationError, match="frame 1 is no label of these frames"):
        finished(moved, EMT, file)
    with pytest.raises(ConfigurationError, match="was computed at 'EMT"):
        finished(frames(), LennardJonesReference(), file)
    with pytest.raises(ConfigurationError, match="frame 2 is no label of these frames"):
        finished(frames()[:3], EMT, file)
    foreign = FrameFile(complete.with_name("foreign.extxyz"))
    foreign.append(frames()[0])
    with pytest.raises(ConfigurationError, match="frame 0 is no label of these frames"):
        finished(frames(), EMT, foreign)


def test_file_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a number\nof atoms\n")
    with pytest.raises(DatasetError, match=r"notes\.txt: expected extended XYZ"):
        FrameFile(path).recover()
    assert path.read_text() == "not a number\nof atoms\n"


def test_charged_frame_is_refused_by_name() -> None:
    charged = frames()[0]
    charged.info["charge"] = 1
    (outcome,) = label([charged], [0], EMT)
    assert outcome.frame is None
    assert outcome.reason == "expected a neutral singlet"
