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
_STRUCTURE: Final = struct.Struct("<4i")
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


_ROWS: Final = ((-1, 3), (-1, 3, 3), (), (), (), (-1, 3), (-1, 3, 3))
"""Shapes of the arrays behind the records; none where they are flat."""


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


class Reply(NamedTuple):
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
    if structures.cells is not None:
        periodic += _CELL_GIVEN
    if n_structures == 1:
        record = (n_atoms, periodic, structures.charge, structures.spin_multiplicity)
        records = _STRUCTURE.pack(*record)
    else:
        table = np.empty((n_structures, 4), "<i4")
        table[:, 0] = structures.sizes
        table[:, 1:] = periodic, structures.charge, structures.spin_multiplicity
        records = table.tobytes()
    cells = bytes(72 * n_structures) if structures.cells is None else structures.cells.tobytes("C")
    numbers = structures.numbers.astype("<i4").tobytes()
    positions = structures.positions.tobytes("C")
    return b"".join([header, records, cells, positions, numbers, bytes(-len(numbers) % 8)])


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
    n_structures = len(sizes)
    n_atoms = int(sizes[0]) if n_structures == 1 else int(np.sum(sizes))
    outputs, step = _read_header(frame, n_structures, n_atoms)
    start = _HEADER_BYTES + _RECORD.itemsize * n_structures
    lengths = _section_lengths(outputs, n_structures, n_atoms)
    n_floats = sum(lengths)
    if len(frame) < start + 8 * n_floats or not lengths[0]:
        raise InvalidReply(f"a reply of {len(frame)} bytes lacks what was asked for")
    values = np.frombuffer(frame, "<f8", n_floats, start)
    arrays: list[FloatArray | None] = []
    first = 0
    for length, row in zip(lengths, _ROWS, strict=True):
        part = values[first : first + length] if length else None
        arrays.append(part if part is None or not row else part.reshape(row))
        first += length
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
        problems=_problems(records, frame, start + 8 * n_floats),
    )


def _section_lengths(outputs: int, n_structures: int, n_atoms: int) -> list[int]:
    """Numbers in every array behind the records, in their order."""
    stress, spread, gradient = bool(outputs & 4), bool(outputs & 8), bool(outputs & 16)
    return [
        3 * n_atoms if outputs & 2 else 0,
        9 * n_structures * stress,
        n_atoms * spread,
        n_atoms * spread,
        n_structures * gradient,
        3 * n_atoms * gradient,
        9 * n_structures * gradient,
    ]


def all_finite(values: FloatArray) -> bool:
    """Whether no number is NaN or infinite; the sum of the squares nearly always says it."""
    return math.isfinite(np.vdot(values, values)) or bool(np.isfinite(values).all())


def flag_codes(mask: int) -> tuple[str, ...]:
    """Codes of the flags in a mask; bits of a newer service are named by their number."""
    if not mask:
        return ()
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


def _problems(records: NDArray[np.void], frame: bytes, start: int) -> dict[int, object]:
    if _ERROR not in records["status"].tolist():
        return {}
    text = frame[start:]
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
