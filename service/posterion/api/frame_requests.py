"""Requests and steps in the binary layout: how they are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

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


def decode_request(frame: bytes, settings: ApiSettings) -> dict[str, object]:
    """Read a predict request.

    Args:
        frame: The bytes.
        settings: Limit on the number of structures.

    Returns:
        The document that says the same; its arrays are raw, as in MessagePack.

    Raises:
        MalformedBody: If the bytes are not a request of the layout.
        InvalidRequest: If a number stands for nothing.
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
    return {
        "structures": _structures(frame, n_structures, n_atoms),
        "outputs": _outputs(outputs),
        "units": {"length": _named(LENGTHS, length), "energy": _named(ENERGIES, energy)},
        "precision": _precision(precision),
        "n_samples": {0: None, ADAPTIVE: "adaptive"}.get(n_samples, n_samples),
        "deadline_ms": read_deadline(deadline_ms),
        "uncertainty": _uncertainty(outputs, gradient),
    }


def _structures(frame: bytes, n_structures: int, n_atoms: int) -> list[dict[str, object]]:
    cells = HEADER_BYTES + 16 * n_structures
    positions = cells + 72 * n_structures
    numbers = positions + 24 * n_atoms
    found: list[dict[str, object]] = []
    first = 0
    for index in range(n_structures):
        place = HEADER_BYTES + 16 * index
        size, periodic, charge, multiplicity = STRUCTURE.unpack_from(frame, place)
        if periodic >= 2 * CELL_GIVEN:
            raise MalformedBody("expected periodic directions as a sum of 1, 2, 4 and 8")
        last = first + size
        if last > n_atoms:
            break
        cell = _raw("<f8", [3, 3], frame[cells + 72 * index : cells + 72 * (index + 1)])
        found.append(
            {
                "numbers": _raw("<i4", [size], frame[numbers + 4 * first : numbers + 4 * last]),
                "positions": _raw(
                    "<f8", [size, 3], frame[positions + 24 * first : positions + 24 * last]
                ),
                "cell": cell if periodic & CELL_GIVEN else None,
                "pbc": [bool(periodic & bit) for bit in (1, 2, 4)],
                "charge": charge,
                "spin_multiplicity": multiplicity,
            }
        )
        first = last
    if first != n_atoms or len(found) != n_structures:
        raise MalformedBody(f"expected structures of {n_atoms} atoms together")
    return found


def _raw(dtype: str, shape: list[int], data: bytes) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data": data}


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
