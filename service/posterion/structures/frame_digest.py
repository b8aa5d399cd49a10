"""Which frames are the same: digests that do not depend on the file format."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from posterion.structures.ase_io import LabelledFrame
from posterion.structures.structure import Structure

GEOMETRY_RESOLUTION: Final = 1e-6
"""Angstrom. Files of one origin differ by less where they were printed differently."""

FRAMES_FILE: Final = "frames.json"
"""Name, in a sample set, of the file that names the frames it was made with."""


def frames_digest(frames: Sequence[LabelledFrame]) -> str:
    """Digest of labelled frames in order: ``sha256:`` over elements, positions, cells, labels."""
    sha = hashlib.sha256()
    for frame in frames:
        structure = frame.structure
        sha.update(np.int64(structure.n_atoms).tobytes())
        sha.update(structure.atomic_numbers.astype("<i8").tobytes())
        sha.update(structure.positions.astype("<f8").tobytes())
        sha.update(bytes(structure.pbc))
        sha.update(b"" if structure.cell is None else structure.cell.astype("<f8").tobytes())
        sha.update(np.float64(frame.energy).astype("<f8").tobytes())
        sha.update(frame.forces.astype("<f8").tobytes())
    return f"sha256:{sha.hexdigest()}"


def geometry_digest(structure: Structure) -> str:
    """First 16 hex digits of a digest of one structure, whatever its labels.

    Coordinates are rounded to `GEOMETRY_RESOLUTION`; the order of the atoms and where the
    molecule lies matter.
    """
    sha = hashlib.sha256()
    sha.update(structure.atomic_numbers.astype("<i8").tobytes())
    sha.update(bytes(structure.pbc))
    cell = np.empty((0, 3)) if structure.cell is None else structure.cell
    for vectors in (structure.positions, cell):
        sha.update(np.rint(vectors / GEOMETRY_RESOLUTION).astype("<i8").tobytes())
    return sha.hexdigest()[:16]


def encode_frame_names(sets: Mapping[str, Sequence[Structure]]) -> bytes:
    """Name every frame of every set, so that later frames can be compared with them.

    Args:
        sets: Structures by role: ``train``, ``calibration``, ``report``.

    Returns:
        A JSON object: role to geometry digests.
    """
    names = {role: [geometry_digest(one) for one in frames] for role, frames in sets.items()}
    return json.dumps(names, indent=0).encode()


def decode_frame_names(data: bytes) -> dict[str, frozenset[str]]:
    """Read what `encode_frame_names` wrote.

    Raises:
        ValueError: If it is something else.
    """
    names = json.loads(data)
    if not isinstance(names, dict) or not all(
        isinstance(digests, list) and all(isinstance(one, str) for one in digests)
        for digests in names.values()
    ):
        raise ValueError("expected an object of lists of geometry digests")
    return {role: frozenset(digests) for role, digests in names.items()}
