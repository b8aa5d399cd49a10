"""What a bank has seen is told exactly where it can be, and cautiously elsewhere."""

from pathlib import Path

import pytest

from posterion.errors import BankInvalid, DatasetError
from posterion.evaluation.frame_file import FrameFile, familiarity, read_frame_file
from posterion.structures.ase_io import LabelledFrame
from posterion.structures.frame_digest import FRAMES_FILE, encode_frame_names, frames_digest
from posterion_store import DatasetEntry, Manifest, Store
from tests.support.data import morse_frames, write_extxyz
from tests.support.labelled import append_unlabelled
from tests.support.sample_sets import put_sample_set

N_FRAMES = 6


@pytest.fixture
def frames() -> list[LabelledFrame]:
    return morse_frames(N_FRAMES, seed=1)


@pytest.fixture
def file(tmp_path: Path, frames: list[LabelledFrame]) -> FrameFile:
    write_extxyz(tmp_path / "water.extxyz", frames)
    return read_frame_file(tmp_path / "water.extxyz")


@pytest.fixture
def store() -> Store:
    return Store.open("memory://")


def manifest(store: Store, **changes: object) -> Manifest:
    return put_sample_set(store).model_copy(update=changes)


def dataset(role: str, source: str, digest: str) -> DatasetEntry:
    return DatasetEntry.model_validate(
        {"role": role, "source": source, "n_frames": N_FRAMES, "digest": digest}
    )


def test_single_frames_are_recognised(
    store: Store, file: FrameFile, frames: list[LabelledFrame]
) -> None:
    sets = {
        "train": [frame.structure for frame in [*frames[:2], *morse_frames(3, seed=9)]],
        "calibration": [frames[2].structure],
        "report": [frame.structure for frame in morse_frames(3, seed=10)],
    }
    blob = store.put_blob(encode_frame_names(sets))
    found = familiarity(store, manifest(store, files={FRAMES_FILE: blob}), file)
    assert found.basis == "frames"
    assert found.seen == {"train": 2, "calibration": 1, "report": 0}
    assert found.suspicious
    assert "of 6 frames, 2 in its train set, 1 in its calibration set" in found.note


def test_frames_never_seen_are_no_cause_for_suspicion(store: Store, file: FrameFile) -> None:
    sets = {"train": [frame.structure for frame in morse_frames(3, seed=9)]}
    blob = store.put_blob(encode_frame_names(sets))
    found = familiarity(store, manifest(store, files={FRAMES_FILE: blob}), file)
    assert not found.suspicious
    assert "none among the frames" in found.note


@pytest.mark.parametrize(("role", "suspicious"), [("train", True), ("report", False)])
def test_a_whole_set_is_recognised_by_its_digest(
    role: str, suspicious: bool, store: Store, file: FrameFile, frames: list[LabelledFrame]
) -> None:
    entries = (dataset(role, "elsewhere.npz", frames_digest(file.usable)),)
    found = familiarity(store, manifest(store, datasets=entries), file)
    assert (found.basis, found.seen, found.suspicious) == ("sets", {role: N_FRAMES}, suspicious)
    assert f"exactly its {role} set" in found.note


def test_a_file_of_the_same_name_is_suspicious(store: Store, file: FrameFile) -> None:
    entries = tuple(
        dataset(role, "other.extxyz, water.extxyz", f"sha256:{'1' * 64}")
        for role in ("train", "calibration")
    )
    found = familiarity(store, manifest(store, datasets=entries), file)
    assert found.suspicious
    assert "gave its train, calibration set" in found.note


def test_nothing_is_claimed_of_other_files(store: Store, file: FrameFile) -> None:
    found = familiarity(store, manifest(store), file)
    assert not found.suspicious
    assert "single frames cannot be compared" in found.note


def test_a_list_of_frames_that_is_none_is_refused(store: Store, file: FrameFile) -> None:
    for data in (b"no json", b"[]", b'{"train": [1]}'):
        blob = store.put_blob(data)
        with pytest.raises(BankInvalid, match=r"bank ethanol: frames\.json: "):
            familiarity(store, manifest(store, files={FRAMES_FILE: blob}), file)


def test_the_digest_is_of_the_usable_frames(
    tmp_path: Path, file: FrameFile, frames: list[LabelledFrame]
) -> None:
    append_unlabelled(tmp_path / "water.extxyz", frames[0])
    longer = read_frame_file(tmp_path / "water.extxyz")
    assert len(longer.frames) == N_FRAMES + 1
    assert longer.digest == file.digest
    assert longer.sha256 != file.sha256


def test_a_file_without_any_label_is_refused(tmp_path: Path, frames: list[LabelledFrame]) -> None:
    append_unlabelled(tmp_path / "bare.extxyz", frames[0])
    with pytest.raises(DatasetError, match=r"none of 1 frames can be used; the first: .*energy"):
        read_frame_file(tmp_path / "bare.extxyz")
