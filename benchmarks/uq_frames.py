"""Where the frames of a comparison lie, and the files that are cut out of others."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import ase.io
import numpy as np
from ase import Atoms


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where things lie.

    Attributes:
        data: Ab initio data sets.
        reference: Output of ``benchmarks/reference_sets.py``; None = sets from it are left out.
        work: Derived files, run folders and the store, outside the repository.
    """

    data: Path
    reference: Path | None
    work: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class StrangeSet:
    """Frames that a bank of the task was not trained for.

    Attributes:
        name: Name in tables.
        path: Labelled frames.
        max_frames: At most so many, evenly spaced over the file.
    """

    name: str
    path: Path
    max_frames: int = 150


FAR: Final = "stretched by 25 % or more"
FAR_STRETCH: Final = 0.25
"""In training one frame in 28 has a C-H bond 10 % above the mean, the longest is 16 % above: a
short stretch of a bond that was short is ordinary."""


def far_stretched(folders: Folders, path: Path) -> Path:
    """Write the frames whose bond is stretched far to the work folder, once."""
    frames = list(ase.io.iread(path))
    far = np.array([atoms.info["stretch"] >= FAR_STRETCH for atoms in frames])
    return subset(folders, f"{path.stem}-far", frames, far)


def subset(folders: Folders, name: str, frames: Sequence[Atoms], chosen: np.ndarray) -> Path:
    """Write some frames of a file to the work folder, once."""
    path = folders.work / "frames" / f"{name}.extxyz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        ase.io.write(path, [atoms for atoms, wanted in zip(frames, chosen, strict=True) if wanted])
    return path
