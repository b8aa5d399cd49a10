"""Requests, steps and replies in the binary layout of the service.

The layout is described in ``docs/api.md`` of the service: little-endian numbers at fixed
places. Frames are written into one buffer and read without copying.
"""

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from posterion_client._errors import InvalidReply

FloatArray = NDArray[np.float64]

MEDIA_TYPE: Final = "application/vnd.posterion.frame"
FLAGS: Final = (
    "force-epistemic-high",
    "energy-epistemic-high",
    "latent-density-low",
    "close-contact",
    "isolated-atom",
    "composition-unseen",
)
"""Bit i of a mask of flags stands for entry i."""

Scalar = Literal[
    "force_epistemic_rms", "force_epistemic_max_smooth", "energy_epistemic", "latent_score"
]
SCALARS: Final[tuple[Scalar, ...]] = get_args(Scalar)
"""What a gradient may be of, by its number in a header."""

_MAGIC: Final = b"PSTN"
_LAYOUT: Final = 1
_REQUEST, _REPLY, _STEP = 1, 2, 3
_HEADER: Final = struct.Struct("<4sHHQIIIIdiIIIII")
_REPLY_START: Final = struct.Struct("<4sHHQIIII")
_HEADER_BYTES: Final = 64
_CELL_GIVEN: Final = 8
_ERROR: Final = 2
_RECORD: Final = np.dtype(
    [
        ("status", "<u4"),
        ("n_samples", "<u4"),
        ("candidate", "<u4"),
        ("failed", "<u4"),
        ("energy", "<f8"),
        ("energy_epistemic", "<f8"),
        ("energy_total", "<f8"),
        ("force_max", "<f8"),
        ("force_rms", "<f8"),
        ("problem_bytes", "<u4"),
        ("unused", "<u4"),
    ]
)


class Outputs(NamedTuple):
    """What is asked for beside energy and forces.

    Attributes:
        stress: Whether the stress is.
        uncertainty: Whether standard deviations are.
        gradient_of: Of which number the gradient is; None = of none.
    """

    stress: bool
    uncertainty: bool
    gradient_of: Scalar | None = None

    @property
    def mask(self) -> int:
        """The number that says so in a header."""
        gradient = self.gradient_of is not None
        return 3 | 4 * self.stress | 8 * self.uncertainty | 16 * gradient


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Structures:
    """Several structures as concatenated arrays.

    Attributes:
        numbers: Atomic numbers, shape ``(n_atoms,)``.
        positions: Shape ``(n_atoms, 3)``, Angstrom.
        sizes: Atoms of each structure, shape ``(n_structures,)``.
        cells: Shape ``(n_structures, 3, 3)``, rows are lattice vectors, Angstrom; None where
            no direction is periodic.
        pbc: Periodic directions of all of them.
        charge: Total charge of each of them.
        spin_multiplicity: 2S + 1 of each of them.
    """

    numbers: NDArray[np.int64]
    positions: FloatArray
    sizes: NDArray[np.int64]
    cells: FloatArray | None
    pbc: tuple[bool, bool, bool]
    charge: int = 0
    spin_multiplicity: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reply:
    """A reply, as arrays over its structures or over all their atoms.

    Attributes:
        step: Number of the step; 0 in an HTTP reply.
        records: One record per structure, shape ``(n_structures,)``; see ``_RECORD``.
        forces: Shape ``(n_atoms, 3)``, eV/Angstrom.
        stress: Shape ``(n_structures, 3, 3)``, eV/Angstrom^3; None unless asked for.
        force_epistemic: Of each atom, shape ``(n_atoms,)``, eV/Angstrom; None likewise.
        force_total: The same, with the aleatoric part.
        gradient_values: What the gradient is of, shape ``(n_structures,)``; None likewise.
        gradient_positions: Its derivatives, shape ``(n_atoms, 3)``, per Angstrom.
        gradient_cells: Its derivatives at fixed fractional coordinates, shape
            ``(n_structures, 3, 3)``, per Angstrom; NaN without full periodicity.
        problems: Problem documents by the position of their structure.
    """

    step: int
    records: NDArray[np.void]
    forces: FloatArray
    stress: FloatArray | None
    force_epistemic: FloatArray | None
    force_total: FloatArray | None
    gradient_values: FloatArray | None
    gradient_positions: FloatArray | None
    gradient_cells: FloatArray | None
    problems: dict[int, object]


def request_frame(
    structures: Structures, outputs: Outputs, *, precision: str, n_samples: int | None
) -> bytes:
    """Write a predict request.

    Args:
        structures: What to evaluate.
        outputs: What to answer.
        precision: ``float32`` or ``float64``.
        n_samples: Evaluate only the first n samples; None = all.
    """
    n_structures, n_atoms = len(structures.sizes), len(structures.numbers)
    header = _HEADER.pack(
        *(_MAGIC, _LAYOUT, _REQUEST, 0, n_structures, n_atoms, outputs.mask, 0, 0.0),
        *(n_samples or 0, 64 if precision == "float64" else 32, 0, 0),
        *(SCALARS.index(outputs.gradient_of) if outputs.gradient_of else 0, 0),
    )
    periodic = sum(1 << axis for axis in range(3) if structures.pbc[axis])
    records = np.empty((n_structures, 4), "<i4")
    records[:, 0] = structures.sizes
    records[:, 1] = periodic + (0 if structures.cells is None else _CELL_GIVEN)
    records[:, 2:] = structures.charge, structures.spin_multiplicity
    cells = structures.cells
    if cells is None:
        cells = np.zeros((n_structures, 3, 3))
    numbers = structures.numbers.astype("<i4").tobytes()
    arrays = (records, cells, structures.positions)
    sections = [array.tobytes(order="C") for array in arrays]
    return b"".join([header, *sections, numbers, bytes(-len(numbers) % 8)])


def step_frame(step: int, positions: FloatArray, cells: FloatArray | None) -> bytes:
    """Write a step of a session.

    Args:
        step: Its number.
        positions: Shape ``(n_images, n_atoms, 3)``, Angstrom.
        cells: Shape ``(n_images, 3, 3)``, Angstrom; None = unchanged.
    """
    n_images, n_atoms = positions.shape[:2]
    header = _HEADER.pack(
        *(_MAGIC, _LAYOUT, _STEP, step, n_images, n_images * n_atoms, 0, int(cells is not None)),
        *(0.0, 0, 0, 0, 0, 0, 0),
    )
    if cells is None:
        return header + positions.tobytes(order="C")
    return b"".join([header, cells.tobytes(order="C"), positions.tobytes(order="C")])


def read_reply(frame: bytes, sizes: Sequence[int] | NDArray[np.int64]) -> Reply:
    """Read a reply.

    Args:
        frame: The bytes.
        sizes: Atoms of each structure asked about.

    Returns:
        The reply; its arrays are views of the frame.

    Raises:
        InvalidReply: If the bytes are no reply about these structures.
    """
    n_structures, n_atoms = len(sizes), int(np.sum(sizes))
    outputs, step = _read_header(frame, n_structures, n_atoms)
    start = _HEADER_BYTES + _RECORD.itemsize * n_structures
    sections = [
        (outputs & 2, (n_atoms, 3)),
        (outputs & 4, (n_structures, 3, 3)),
        (outputs & 8, (n_atoms,)),
        (outputs & 8, (n_atoms,)),
        (outputs & 16, (n_structures,)),
        (outputs & 16, (n_atoms, 3)),
        (outputs & 16, (n_structures, 3, 3)),
    ]
    n_floats = sum(math.prod(shape) for given, shape in sections if given)
    if len(frame) < start + 8 * n_floats or not outputs & 2:
        raise InvalidReply(f"a reply of {len(frame)} bytes lacks what was asked for")
    values = np.frombuffer(frame, "<f8", n_floats, start)
    arrays: list[FloatArray | None] = []
    for given, shape in sections:
        size = math.prod(shape) if given else 0
        arrays.append(values[:size].reshape(shape) if given else None)
        values = values[size:]
    forces, stress, epistemic, total, *gradient = arrays
    assert forces is not None
    records = np.frombuffer(frame, _RECORD, n_structures, _HEADER_BYTES)
    return Reply(
        step=step,
        records=records,
        forces=forces,
        stress=stress,
        force_epistemic=epistemic,
        force_total=total,
        gradient_values=gradient[0],
        gradient_positions=gradient[1],
        gradient_cells=gradient[2],
        problems=_problems(records, frame[start + 8 * n_floats :]),
    )


def flag_codes(mask: int) -> tuple[str, ...]:
    """Codes of the flags in a mask; bits of a newer service are named by their number."""
    bits = (bit for bit in range(32) if mask >> bit & 1)
    return tuple(FLAGS[bit] if bit < len(FLAGS) else f"flag-{bit}" for bit in bits)


def _read_header(frame: bytes, n_structures: int, n_atoms: int) -> tuple[int, int]:
    """Outputs and number of the step of a reply about as many structures and atoms."""
    if len(frame) < _HEADER_BYTES:
        raise InvalidReply(f"expected a reply of at least {_HEADER_BYTES} bytes, got {len(frame)}")
    magic, layout, kind, step, found, atoms, outputs, _ = _REPLY_START.unpack_from(frame)
    if (magic, layout, kind) != (_MAGIC, _LAYOUT, _REPLY):
        raise InvalidReply(f"expected a reply of layout {_LAYOUT}, got {frame[:8]!r}")
    if (found, atoms) != (n_structures, n_atoms):
        raise InvalidReply(
            f"asked about {n_structures} structures of {n_atoms} atoms together, the reply has "
            f"{found} of {atoms}"
        )
    return outputs, step


def _problems(records: NDArray[np.void], text: bytes) -> dict[int, object]:
    if not (records["status"] == _ERROR).any():
        return {}
    problems: dict[int, object] = {}
    first = 0
    for index in np.flatnonzero(records["status"] == _ERROR):
        last = first + int(records["problem_bytes"][index])
        try:
            problems[int(index)] = json.loads(text[first:last])
        except ValueError as error:
            raise InvalidReply(f"the problem of structure {index} is not JSON: {error}") from error
        first = last
    return problems
