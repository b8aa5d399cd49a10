"""An extxyz file that grows by whole frames and survives being cut off anywhere.

A frame is complete when its count, its comment and all its atom lines end with a newline.
What follows the last complete frame is the rest of a write that was cut off; it is removed
before anything is appended.
"""

import io
import os
from dataclasses import dataclass
from pathlib import Path

import ase.io
from ase import Atoms

from posterion.errors import DatasetError


@dataclass(frozen=True, slots=True)
class FrameFile:
    """Frames on disk, in extended XYZ.

    Attributes:
        path: The file; it need not exist yet.
    """

    path: Path

    def recover(self) -> list[Atoms]:
        """Remove what a cut-off write left behind and read the complete frames.

        Returns:
            Frames in the order of the file; none if there is no file.

        Raises:
            DatasetError: If the file is not extended XYZ, or cannot be changed.
        """
        if not self.path.exists():
            return []
        try:
            content = self.path.read_bytes()
            end = _end_of_complete_frames(content)
            if end < len(content):
                with self.path.open("r+b") as file:
                    file.truncate(end)
            text = content[:end].decode("utf-8")
            return list(ase.io.iread(io.StringIO(text), index=":", format="extxyz")) if end else []
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise DatasetError(
                f"{self.path}: expected extended XYZ to be continued, but {error}"
            ) from error

    def append(self, frame: Atoms) -> None:
        """Write one frame and wait until it is on the disk.

        Args:
            frame: With its labels and ``info``.

        Raises:
            DatasetError: If the file cannot be written.
        """
        text = io.StringIO()
        ase.io.write(text, frame, format="extxyz")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(text.getvalue().encode("utf-8"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DatasetError(f"{self.path}: cannot be written: {error}") from error


def _end_of_complete_frames(content: bytes) -> int:
    """Number of bytes up to the end of the last complete frame."""
    lines = content.splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()
    end = first = 0
    while first < len(lines):
        after = first + int(lines[first]) + 2
        if after > len(lines):
            break
        end += sum(map(len, lines[first:after]))
        first = after
    return end
