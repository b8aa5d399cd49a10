"""Which frames train, which calibrate, which report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from posterion.errors import ConfigurationError, DatasetError
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
    """Three disjoint sets of frames of one level of theory.

    Attributes:
        train: Frames the posterior is conditioned on.
        calibration: Frames the calibration is fitted on.
        report: Frames the model card's figures come from.
        level_of_theory: Of all their labels.
    """

    train: FrameSet
    calibration: FrameSet
    report: FrameSet
    level_of_theory: str

    @property
    def structures(self) -> dict[str, list[Structure]]:
        """The structures of each set by its role."""
        return {
            one.role: [frame.structure for frame in one.frames]
            for one in (self.train, self.calibration, self.report)
        }


def split_frames(config: DataConfig, *, level_of_theory: str | None = None) -> DataSplit:
    """Read the files and split them at random into disjoint sets.

    Args:
        config: Files, counts and seed.
        level_of_theory: Of the labels; None asks the files.

    Returns:
        The split. No frame is in two sets: frames that occur twice are dropped first.

    Raises:
        DatasetError: If a file is wrong, holds too few distinct frames, or says another
            level of theory than is stated or than the other frames say.
        ConfigurationError: If neither the files nor the caller state a level of theory.
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
        level_of_theory=_agreed_level(level_of_theory, [*train, *calibration, *report]),
    )


def _agreed_level(stated: str | None, frames: Sequence[LabelledFrame]) -> str:
    """The one level that is stated or said by the frames."""
    levels = {frame.level_of_theory for frame in frames} | {stated}
    said = sorted(level for level in levels if level is not None)
    if not said:
        raise ConfigurationError(
            "level_of_theory: the files do not say at which level their labels were computed; "
            "state it"
        )
    if len(said) > 1:
        where = "the frames say" if stated is None else f"{stated!r} is stated, the frames say"
        others = " and ".join(repr(level) for level in said if level != stated)
        raise DatasetError(f"expected labels of one level of theory, but {where} {others}")
    return said[0]


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
