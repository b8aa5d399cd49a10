"""A checkpoint is whole or refused, and belongs to one run."""

from pathlib import Path

import pytest
import torch

from posterion.errors import CheckpointMismatch
from posterion.training.checkpoint import (
    fingerprint_of,
    load_checkpoint,
    save_checkpoint,
    write_atomically,
)

STATE = {
    "position": torch.linspace(-1.0, 1.0, 7, dtype=torch.float64).reshape(1, 7),
    "step": torch.tensor(12),
    "digest": torch.tensor(list(b"text"), dtype=torch.uint8),
    "nothing": torch.empty(0, dtype=torch.int64),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "checkpoint.safetensors"
    save_checkpoint(target, STATE, fingerprint="mine")
    return target


def test_tensors_come_back_bitwise(path: Path) -> None:
    loaded = load_checkpoint(path, fingerprint="mine")
    assert loaded.keys() == STATE.keys()
    for name, tensor in STATE.items():
        assert torch.equal(loaded[name], tensor)
        assert loaded[name].dtype == tensor.dtype


def test_checkpoint_of_another_run_is_refused_by_both_names(path: Path) -> None:
    with pytest.raises(CheckpointMismatch, match=r"fingerprint mine, this run has yours") as caught:
        load_checkpoint(path, fingerprint="yours")
    assert str(path) in caught.value.detail


@pytest.mark.parametrize("kept", [0, 5, 40, -1])
def test_truncated_checkpoint_is_refused_by_name(kept: int, path: Path) -> None:
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointMismatch, match="is damaged") as caught:
        load_checkpoint(path, fingerprint="mine")
    assert str(path) in caught.value.detail


def test_alien_file_is_refused_by_name(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04 not a checkpoint" * 10)
    with pytest.raises(CheckpointMismatch, match="is damaged"):
        load_checkpoint(path, fingerprint="mine")


def test_write_that_breaks_off_leaves_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written before the disk confirms it is not yet the checkpoint."""
    before = path.read_bytes()

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"half of a new check")
    assert path.read_bytes() == before


def test_rest_of_a_broken_write_is_written_over(path: Path) -> None:
    path.with_name(path.name + ".partial").write_bytes(b"rest of a killed process, quite long" * 99)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_fingerprint_depends_on_content_not_on_order() -> None:
    assert fingerprint_of({"a": 1, "b": [1.5]}) == fingerprint_of({"b": [1.5], "a": 1})
    assert fingerprint_of({"a": 1, "b": [1.5]}) != fingerprint_of({"a": 1, "b": [1.25]})
