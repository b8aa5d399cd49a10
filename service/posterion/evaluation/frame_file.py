"""What a file of labelled frames holds, and what of it a bank may already have seen."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from posterion.errors import BankInvalid, DatasetError
from posterion.structures.ase_io import LabelledFrame, read_frames_apart
from posterion.structures.frame_digest import (
    FRAMES_FILE,
    decode_frame_names,
    frames_digest,
    geometry_digest,
)
from posterion_store import Manifest, Store


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameFile:
    """One file as it was read.

    Attributes:
        name: File name.
        sha256: Of its bytes.
        digest: Of its usable frames, ``sha256:<hex>``; comparable with a manifest's.
        frames: In the order of the file: the frame, or why it cannot be used.
    """

    name: str
    sha256: str
    digest: str
    frames: tuple[LabelledFrame | DatasetError, ...]

    @property
    def usable(self) -> list[LabelledFrame]:
        """Frames with labels, whether or not a bank knows their elements."""
        return [frame for frame in self.frames if isinstance(frame, LabelledFrame)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Familiarity:
    """What can be said about whether a bank has seen the frames of a file.

    Attributes:
        basis: ``frames`` if the sample set names each of its frames, else ``sets``.
        seen: Role (train, calibration, report) to the number of frames of the file in it;
            known for a basis of ``frames`` only, and for a set that is exactly the file.
        note: A sentence for people.
        suspicious: Whether frames were, or may have been, trained or calibrated on.
    """

    basis: str
    seen: dict[str, int]
    note: str
    suspicious: bool


def read_frame_file(path: Path) -> FrameFile:
    """Read a file that ASE understands, or an rMD17 archive.

    Raises:
        DatasetError: If the file as a whole cannot be read, or not one frame has labels.
    """
    frames = tuple(read_frames_apart(path))
    usable = [frame for frame in frames if isinstance(frame, LabelledFrame)]
    if not usable:
        first = next(frame for frame in frames if isinstance(frame, DatasetError))
        raise DatasetError(f"none of {len(frames)} frames can be used; the first: {first.detail}")
    return FrameFile(
        name=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        digest=frames_digest(usable),
        frames=frames,
    )


def familiarity(store: Store, manifest: Manifest, file: FrameFile) -> Familiarity:
    """Compare a file with what a sample set was made with.

    Args:
        store: Where the sample set lies.
        manifest: Its description.
        file: The frames.

    Returns:
        What can be said.

    Raises:
        BankInvalid: If the sample set's list of frames is none.
    """
    if FRAMES_FILE in manifest.files:
        data = store.read_blob(manifest.files[FRAMES_FILE])
        try:
            known = decode_frame_names(data)
        except ValueError as error:
            raise BankInvalid(f"bank {manifest.name}: {FRAMES_FILE}: {error}") from error
        return _by_frames(known, file.usable)
    return _by_sets(manifest, file)


def _by_frames(known: Mapping[str, frozenset[str]], frames: Sequence[LabelledFrame]) -> Familiarity:
    digests = [geometry_digest(frame.structure) for frame in frames]
    seen = {role: sum(one in names for one in digests) for role, names in known.items()}
    parts = [f"{count} in its {role} set" for role, count in seen.items() if count]
    found = ", ".join(parts) if parts else "none among the frames it was made with"
    return Familiarity(
        basis="frames",
        seen=seen,
        note=f"of {len(frames)} frames, {found}",
        suspicious=any(seen.get(role, 0) > 0 for role in ("train", "calibration")),
    )


def _by_sets(manifest: Manifest, file: FrameFile) -> Familiarity:
    """The digests of whole sets say something only if a set is the file, in its order."""
    for entry in manifest.datasets:
        if entry.digest == file.digest:
            return Familiarity(
                basis="sets",
                seen={entry.role: entry.n_frames},
                note=f"these frames are exactly its {entry.role} set",
                suspicious=entry.role != "report",
            )
    same = [entry.role for entry in manifest.datasets if file.name in entry.source.split(", ")]
    if same:
        return Familiarity(
            basis="sets",
            seen={},
            note=f"a file of this name gave its {', '.join(same)} set; frames may be the same",
            suspicious=same != ["report"],
        )
    return Familiarity(
        basis="sets",
        seen={},
        note="none of its sets is this file; single frames cannot be compared",
        suspicious=False,
    )
