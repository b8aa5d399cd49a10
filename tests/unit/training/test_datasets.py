"""Sets are disjoint, repeatable and named by their content."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posterion.errors import ConfigurationError, DatasetError
from posterion.structures.ase_io import LabelledFrame
from posterion.structures.frame_digest import frames_digest
from posterion.training.config import DataConfig
from posterion.training.datasets import DataSplit, FrameSet, split_frames
from posterion.training.normalization import fit_energy_reference, network_config
from tests.support.data import morse_frames, write_extxyz
from tests.support.structures import oxygen, triclinic, water
from tests.support.tolerances import ROUNDING
from tests.support.training_runs import training_config

N_FRAMES = 70


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    frames = morse_frames(N_FRAMES, seed=1)
    write_extxyz(path / "frames.extxyz", frames)
    write_extxyz(path / "others.extxyz", [*frames[:30], *morse_frames(15, seed=2)])
    return path


def split(folder: Path, *, level: str | None = "analytic", **changes: object) -> DataSplit:
    wanted: dict[str, object] = {
        "files": [folder / "frames.extxyz"],
        "n_train": 30,
        "n_calibration": 25,
        "n_report": 15,
    }
    return split_frames(DataConfig.model_validate(wanted | changes), level_of_theory=level)


def sets(split: DataSplit) -> tuple[FrameSet, FrameSet, FrameSet]:
    return split.train, split.calibration, split.report


def identities(frames: FrameSet) -> set[str]:
    return {frames_digest([frame]) for frame in frames.frames}


def test_sets_are_disjoint_and_as_large_as_asked(folder: Path) -> None:
    train, calibration, report = (identities(frames) for frames in sets(split(folder)))
    assert (len(train), len(calibration), len(report)) == (30, 25, 15)
    assert len(train | calibration | report) == N_FRAMES


def test_split_depends_on_its_seed_alone(folder: Path) -> None:
    once, again, other = split(folder), split(folder), split(folder, seed=1)
    assert [s.digest for s in sets(once)] == [s.digest for s in sets(again)]
    assert once.train.digest != other.train.digest


def test_frames_that_occur_twice_count_once(folder: Path) -> None:
    twice = [folder / "frames.extxyz", folder / "frames.extxyz"]
    assert [s.digest for s in sets(split(folder, files=twice))] == [
        s.digest for s in sets(split(folder))
    ]
    with pytest.raises(DatasetError, match=r"at least 71 distinct frames .* found 70"):
        split(folder, files=twice, n_report=16)


def test_report_files_give_only_frames_that_training_files_lack(folder: Path) -> None:
    others = [folder / "others.extxyz"]
    found = split(folder, report_files=others, n_calibration=40)
    assert found.report.source == "others.extxyz"
    assert not identities(found.report) & (identities(found.train) | identities(found.calibration))
    with pytest.raises(DatasetError, match=r"at least 16 frames that are not in .* found 15"):
        split(folder, report_files=others, n_calibration=40, n_report=16)


def test_level_of_theory_is_that_of_every_frame(folder: Path, tmp_path: Path) -> None:
    frames = morse_frames(N_FRAMES, seed=1)
    levels = {"said": ["GFN2-xTB"] * N_FRAMES, "mixed": ["GFN2-xTB", "PBE"] * (N_FRAMES // 2)}
    files = {name: [tmp_path / f"{name}.extxyz"] for name in levels}
    for name, (path,) in files.items():
        write_extxyz(
            path,
            [
                replace(frame, level_of_theory=level)
                for frame, level in zip(frames, levels[name], strict=True)
            ],
        )
    assert split(folder).level_of_theory == "analytic"
    assert split(folder, level=None, files=files["said"]).level_of_theory == "GFN2-xTB"
    assert split(folder, level="GFN2-xTB", files=files["said"]).level_of_theory == "GFN2-xTB"
    with pytest.raises(DatasetError, match="'PBE' is stated, the frames say 'GFN2-xTB'"):
        split(folder, level="PBE", files=files["said"])
    with pytest.raises(DatasetError, match="the frames say 'GFN2-xTB' and 'PBE'"):
        split(folder, level=None, files=files["mixed"])
    with pytest.raises(ConfigurationError, match=r"^level_of_theory: .* state it$"):
        split(folder, level=None)


def changes(frame: LabelledFrame) -> list[LabelledFrame]:
    structure = frame.structure
    nudge = np.zeros((3, 3))
    nudge[2, 1] = 1e-12
    return [
        replace(frame, energy=frame.energy + 1e-9),
        replace(frame, forces=frame.forces + nudge),
        replace(frame, structure=replace(structure, positions=structure.positions + nudge)),
        replace(frame, structure=replace(structure, atomic_numbers=np.array([8, 1, 2]))),
        replace(frame, structure=replace(structure, cell=9.0 * np.eye(3), pbc=(True,) * 3)),
    ]


def test_digest_notices_every_change() -> None:
    first, second = morse_frames(2, seed=3)
    digests = {frames_digest([frame]) for frame in [first, *changes(first)]}
    assert len(digests) == 6
    assert frames_digest([first, second]) != frames_digest([second, first])
    assert frames_digest([first]) == frames_digest(morse_frames(1, seed=3))
    assert frames_digest([first]).startswith("sha256:")


def composed(n_oxygen: int, n_hydrogen: int, energy: float) -> LabelledFrame:
    numbers = np.array([8] * n_oxygen + [1] * n_hydrogen)
    positions = np.arange(3.0 * len(numbers)).reshape(-1, 3)
    structure = replace(water(), atomic_numbers=numbers, positions=positions)
    return LabelledFrame(structure=structure, energy=energy, forces=np.full((len(numbers), 3), 2.0))


def test_shifts_are_found_where_compositions_tell_them_apart() -> None:
    true = {1: -13.6, 8: -2041.25}
    counts = ((1, 2), (2, 2), (1, 1), (3, 5))
    frames = [composed(o, h, o * true[8] + h * true[1]) for o, h in counts]
    reference = fit_energy_reference(frames, energy_std_per_sqrt_atom=0.01)
    assert reference.shifts == pytest.approx(true, abs=ROUNDING)
    assert reference.scale == pytest.approx(2.0)
    assert reference.energy_std_per_sqrt_atom == 0.01


def test_one_composition_is_centred_although_its_shifts_are_not_unique() -> None:
    frames = morse_frames(20, seed=5)
    shifts = fit_energy_reference(frames, energy_std_per_sqrt_atom=0.01).shifts
    centred = [frame.energy - shifts[8] - 2.0 * shifts[1] for frame in frames]
    assert np.mean(centred) == pytest.approx(0.0, abs=ROUNDING * abs(frames[0].energy))
    assert np.ptp(centred) < 5.0


def test_elements_and_neighbours_of_the_network_come_from_the_data() -> None:
    frames = [composed(1, 2, 0.0), replace(composed(2, 2, 0.0), structure=triclinic())]
    config = network_config(training_config(), frames)
    assert config.elements == (1, 8)
    assert config.cutoff == training_config().network.cutoff
    assert config.average_neighbors > 5.0
    lonely = network_config(training_config(), [replace(frames[0], structure=oxygen())])
    assert (lonely.elements, lonely.average_neighbors) == ((8,), 1.0)
