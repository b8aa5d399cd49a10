"""Requests and steps in the binary layout: how they are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from posterion.api.frame_layout import (
    ADAPTIVE,
    CELL_GIVEN,
    CELLS_FOLLOW,
    ENERGIES,
    GRADIENTS,
    HEADER_BYTES,
    LENGTHS,
    OUTPUTS,
    REQUEST,
    STRUCTURE,
    Kind,
    check_length,
    check_start,
    padded,
    read_deadline,
)
from posterion.api.settings import ApiSettings
from posterion.errors import Fault, InvalidRequest, MalformedBody, TooLarge

FloatArray = NDArray[np.float64]
GRADIENT_WANTED: Final = 1 << OUTPUTS.index("uncertainty_gradient")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One step of a session, in the caller's units.

    Attributes:
        step: Its number.
        deadline_ms: Milliseconds within which it must be answered; None = any.
        positions: Shape ``(n_images, n_atoms, 3)``, a view of the frame.
        cells: Shape ``(n_images, 3, 3)``, likewise; None = unchanged.
    """

    step: int
    deadline_ms: float | None
    positions: FloatArray
    cells: FloatArray | None


def step_bytes(n_images: int, n_atoms: int, *, cells: bool) -> int:
    """Length of the frame of a step."""
    return HEADER_BYTES + n_images * (24 * n_atoms + (72 if cells else 0))


def read_step(frame: bytes, n_images: int, n_atoms: int) -> Step:
    """Read the frame of a step.

    Args:
        frame: The bytes.
        n_images: Images of the session.
        n_atoms: Atoms of each.

    Returns:
        The step; nothing is copied.

    Raises:
        MalformedBody: If it is not a step of that size.
    """
    check_start(frame, Kind.STEP)
    header = REQUEST.unpack_from(frame)
    _, _, _, step, images, atoms, outputs, options, deadline_ms, *rest = header
    if (images, atoms) != (n_images, n_images * n_atoms):
        raise MalformedBody(
            f"expected {n_images} images and {n_images * n_atoms} atoms, got {images} and {atoms}"
        )
    if outputs or options & ~CELLS_FOLLOW or any(rest):
        raise MalformedBody("expected 0 in the fields that a step leaves unused")
    cells = bool(options & CELLS_FOLLOW)
    check_length(frame, step_bytes(n_images, n_atoms, cells=cells))
    values = np.frombuffer(frame, "<f8", offset=HEADER_BYTES)
    split = 9 * n_images if cells else 0
    return Step(
        step=step,
        deadline_ms=read_deadline(deadline_ms),
        positions=values[split:].reshape(n_images, n_atoms, 3),
        cells=values[:split].reshape(n_images, 3, 3) if cells else None,
    )


class Said(NamedTuple):
    """What a request says beside its structures; hashable, as callers repeat it every time.

    Attributes:
        outputs: Mask.
        n_samples: 0 for all, `ADAPTIVE`, or their number.
        precision: Bits, or 0.
        length: Index into `LENGTHS`.
        energy: Index into `ENERGIES`.
        gradient: Index into `GRADIENTS`.
    """

    outputs: int
    n_samples: int
    precision: int
    length: int
    energy: int
    gradient: int

    def document(self) -> dict[str, object]:
        """The fields of a predict request that say the same.

        Raises:
            InvalidRequest: If a number stands for nothing.
        """
        return {
            "outputs": _outputs(self.outputs),
            "units": {
                "length": _named(LENGTHS, self.length),
                "energy": _named(ENERGIES, self.energy),
            },
            "precision": _precision(self.precision),
            "n_samples": {0: None, ADAPTIVE: "adaptive"}.get(self.n_samples, self.n_samples),
            "uncertainty": _uncertainty(self.outputs, self.gradient),
        }


class FrameStructure(NamedTuple):
    """One structure of a request, in the caller's units; its arrays are views of the frame.

    Attributes:
        numbers: Shape ``(n_atoms,)``.
        positions: Shape ``(n_atoms, 3)``.
        cell: Shape ``(3, 3)``, if given.
        pbc: Periodic directions.
        charge: Elementary charges.
        spin_multiplicity: 2S + 1.
    """

    numbers: NDArray[np.int32]
    positions: FloatArray
    cell: FloatArray | None
    pbc: tuple[bool, bool, bool]
    charge: int
    spin_multiplicity: int


class FrameRequest(NamedTuple):
    """A predict request as its frame has it.

    Attributes:
        said: What it says beside its structures.
        deadline_ms: Milliseconds after arrival within which it must be answered; None = any.
        structures: In their order.
    """

    said: Said
    deadline_ms: float | None
    structures: list[FrameStructure]


def read_request(frame: bytes, settings: ApiSettings) -> FrameRequest:
    """Read a predict request.

    Args:
        frame: The bytes.
        settings: Limit on the number of structures.

    Returns:
        The request; nothing is copied.

    Raises:
        MalformedBody: If the bytes are not a request of the layout.
        TooLarge: If there are too many structures.
    """
    check_start(frame, Kind.REQUEST)
    header = REQUEST.unpack_from(frame)
    _, _, _, step, n_structures, n_atoms, outputs, options, deadline_ms = header[:9]
    n_samples, precision, length, energy, gradient, reserved = header[9:]
    if step or options or reserved or (gradient and not outputs & GRADIENT_WANTED):
        raise MalformedBody("expected 0 in the fields that a request leaves unused")
    if n_structures > settings.max_structures:
        raise TooLarge(f"expected at most {settings.max_structures} structures, got {n_structures}")
    check_length(frame, HEADER_BYTES + 88 * n_structures + 24 * n_atoms + padded(4 * n_atoms))
    return FrameRequest(
        structures=_structures(frame, n_structures, n_atoms),
        said=Said(outputs, n_samples, precision, length, energy, gradient),
        deadline_ms=read_deadline(deadline_ms),
    )


def _structures(frame: bytes, n_structures: int, n_atoms: int) -> list[FrameStructure]:
    cells = HEADER_BYTES + 16 * n_structures
    floats = np.frombuffer(frame, "<f8", 9 * n_structures + 3 * n_atoms, cells)
    lattices = floats[: 9 * n_structures].reshape(-1, 3, 3)
    positions = floats[9 * n_structures :].reshape(-1, 3)
    numbers = np.frombuffer(frame, "<i4", n_atoms, cells + 8 * floats.size)
    found: list[FrameStructure] = []
    first = 0
    for index in range(n_structures):
        place = HEADER_BYTES + 16 * index
        size, periodic, charge, multiplicity = STRUCTURE.unpack_from(frame, place)
        if periodic >= 2 * CELL_GIVEN:
            raise MalformedBody("expected periodic directions as a sum of 1, 2, 4 and 8")
        last = first + size
        if last > n_atoms:
            break
        found.append(
            FrameStructure(
                numbers=numbers[first:last],
                positions=positions[first:last],
                cell=lattices[index] if periodic & CELL_GIVEN else None,
                pbc=(bool(periodic & 1), bool(periodic & 2), bool(periodic & 4)),
                charge=charge,
                spin_multiplicity=multiplicity,
            )
        )
        first = last
    if first != n_atoms or len(found) != n_structures:
        raise MalformedBody(f"expected structures of {n_atoms} atoms together")
    return found


def _outputs(mask: int) -> list[str]:
    if not 0 < mask < 1 << len(OUTPUTS):
        raise _unknown("/outputs", f"a sum of 1 to {1 << (len(OUTPUTS) - 1)}")
    return [name for bit, name in enumerate(OUTPUTS) if mask >> bit & 1]


def _uncertainty(outputs: int, gradient: int) -> dict[str, str]:
    if not outputs & GRADIENT_WANTED:
        return {}
    if gradient >= len(GRADIENTS):
        raise _unknown("/uncertainty/gradient_of", f"0 to {len(GRADIENTS) - 1}")
    return {"gradient_of": GRADIENTS[gradient]}


def _named(names: Sequence[str], number: int) -> str:
    if number >= len(names):
        raise _unknown("/units", f"0 to {len(names) - 1}")
    return names[number]


def _precision(bits: int) -> str:
    if bits not in (0, 32, 64):
        raise _unknown("/precision", "32 or 64")
    return "float64" if bits == 64 else "float32"


def _unknown(pointer: str, expected: str) -> InvalidRequest:
    detail = f"expected {expected}"
    return InvalidRequest(f"{pointer}: {detail}", faults=(Fault(pointer=pointer, detail=detail),))
