"""Which frames train, which calibrate, which report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from posterion.errors import DatasetError
from posterion.structures.ase_io import LabelledFrame, read_frames
from posterion.structures.frame_digest import frames_digest
from posterion.structures.structure import Structure
from posterion.training.config import DataConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSet:
    """Frames used for one purpose.

    Attributes:
        role: ``train``, ``calibration`` or ``report``.
        source: File names the frames came from.
        frames: The frames.
        digest: ``sha256:...`` over elements, positions, cells, energies and forces.
    """

    role: str
    source: str
    frames: tuple[LabelledFrame, ...]
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSplit:
    """Three disjoint sets of frames."""

    train: FrameSet
    calibration: FrameSet
    report: FrameSet

    @property
    def structures(self) -> dict[str, list[Structure]]:
        """The structures of each set by its role."""
        return {
            one.role: [frame.structure for frame in one.frames]
            for one in (self.train, self.calibration, self.report)
        }


def split_frames(config: DataConfig) -> DataSplit:
    """Read the files and split them at random into disjoint sets.

    Args:
        config: Files, counts and seed.

    Returns:
        The split. No frame is in two sets: frames that occur twice are dropped first.

    Raises:
        DatasetError: If a file is wrong or holds too few distinct frames.
    """
    frames, source = _read_distinct(config.files, seen=set())
    wanted = config.n_train + config.n_calibration
    inside = 0 if config.report_files else config.n_report
    if len(frames) < wanted + inside:
        raise DatasetError(
            f"{source}: expected at least {wanted + inside} distinct frames (n_train + "
            f"n_calibration + n_report), found {len(frames)}"
        )
    order = np.random.default_rng(config.seed).permutation(len(frames))
    train = [frames[i] for i in order[: config.n_train]]
    calibration = [frames[i] for i in order[config.n_train : wanted]]
    report_source = source
    if config.report_files:
        seen = {frames_digest([frame]) for frame in frames}
        others, report_source = _read_distinct(config.report_files, seen=seen)
        if len(others) < config.n_report:
            raise DatasetError(
                f"{report_source}: expected at least {config.n_report} frames that are not in "
                f"the training files, found {len(others)}"
            )
        picks = np.random.default_rng(config.seed).permutation(len(others))[: config.n_report]
        report = [others[i] for i in np.sort(picks)]
    else:
        report = [frames[i] for i in order[wanted : wanted + config.n_report]]
    return DataSplit(
        train=_frame_set("train", source, train),
        calibration=_frame_set("calibration", source, calibration),
        report=_frame_set("report", report_source, report),
    )


def _frame_set(role: str, source: str, frames: list[LabelledFrame]) -> FrameSet:
    return FrameSet(role=role, source=source, frames=tuple(frames), digest=frames_digest(frames))


def _read_distinct(files: Sequence[Path], *, seen: set[str]) -> tuple[list[LabelledFrame], str]:
    """Read frames whose digest is not in ``seen``; ``seen`` grows by them."""
    distinct = []
    for file in files:
        for frame in read_frames(file):
            digest = frames_digest([frame])
            if digest not in seen:
                seen.add(digest)
                distinct.append(frame)
    return distinct, ", ".join(file.name for file in files)
