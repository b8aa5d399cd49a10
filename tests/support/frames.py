"""The binary layout as a client sees it, written from docs/api.md and not from the service."""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FRAME = "application/vnd.posterion.frame"
SUBPROTOCOL = "posterion.session.v1"
ENERGY, FORCES, STRESS, UNCERTAINTY, GRADIENT = 1, 2, 4, 8, 16
GRADIENTS = (
    "force_epistemic_rms",
    "force_epistemic_max_smooth",
    "energy_epistemic",
    "latent_score",
)


def step_frame(
    step: int,
    positions: NDArray[np.float64],
    cells: NDArray[np.float64] | None = None,
    *,
    deadline_ms: float = 0.0,
) -> bytes:
    """A step; positions ``(n_images, n_atoms, 3)``, cells ``(n_images, 3, 3)``."""
    n_images, n_atoms, _ = positions.shape
    header = struct.pack(
        "<4sHHQIIIIdQQQ", b"PSTN", 1, 3, step, n_images, n_images * n_atoms, 0,
        int(cells is not None), deadline_ms, 0, 0, 0,
    )  # fmt: skip
    moved = b"" if cells is None else cells.astype("<f8").tobytes()
    return header + moved + positions.astype("<f8").tobytes()


@dataclass(frozen=True)
class Structure:
    """One structure of a request."""

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    cell: NDArray[np.float64] | None = None
    pbc: int = 0


def request_frame(
    structures: list[Structure], *, outputs: int, precision: int = 32, gradient: int = 0
) -> bytes:
    """A predict request in Angstrom and eV."""
    n_atoms = sum(len(each.numbers) for each in structures)
    parts = [
        struct.pack(
            "<4sHHQIIIIdiIIIII", b"PSTN", 1, 1, 0, len(structures), n_atoms, outputs, 0,
            0.0, 0, precision, 0, 0, gradient, 0,
        )
    ]  # fmt: skip
    for each in structures:
        bits = each.pbc + (0 if each.cell is None else 8)
        parts.append(struct.pack("<IIii", len(each.numbers), bits, 0, 1))
    parts += [
        (np.zeros((3, 3)) if each.cell is None else each.cell).tobytes() for each in structures
    ]
    parts += [each.positions.tobytes() for each in structures]
    numbers = b"".join(each.numbers.astype("<i4").tobytes() for each in structures)
    return b"".join(parts) + numbers + bytes(-len(numbers) % 8)


RECORD = np.dtype(
    [
        ("status", "<u4"), ("n_samples", "<u4"), ("candidate", "<u4"), ("failed", "<u4"),
        ("energy", "<f8"), ("energy_epistemic", "<f8"), ("energy_total", "<f8"),
        ("force_max", "<f8"), ("force_rms", "<f8"), ("problem_bytes", "<u4"), ("unused", "<u4"),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Reply:
    """A reply, section by section; None where it was not asked for."""

    step: int
    n_rebuilds: int
    records: NDArray[np.void]
    forces: NDArray[np.float64] | None
    stress: NDArray[np.float64] | None
    epistemic: NDArray[np.float64] | None
    total: NDArray[np.float64] | None
    gradient_value: NDArray[np.float64] | None
    by_positions: NDArray[np.float64] | None
    by_cell: NDArray[np.float64] | None
    problems: bytes


def read_reply(frame: bytes) -> Reply:
    """Take a reply apart."""
    fields = struct.unpack_from("<4sHHQIIIIdddII", frame)
    magic, layout, kind, step, n_results, n_atoms, outputs, *_ = fields
    assert (magic, layout, kind) == (b"PSTN", 1, 2)
    place = 64 + RECORD.itemsize * n_results

    def take(*shape: int) -> NDArray[np.float64]:
        nonlocal place
        array: NDArray[np.float64] = np.ndarray(shape, np.dtype("<f8"), frame, place)
        place += array.nbytes
        return array

    records = np.frombuffer(frame, RECORD, n_results, 64)
    return Reply(
        step=step,
        n_rebuilds=fields[11],
        records=records,
        forces=take(n_atoms, 3) if outputs & FORCES else None,
        stress=take(n_results, 3, 3) if outputs & STRESS else None,
        epistemic=take(n_atoms) if outputs & UNCERTAINTY else None,
        total=take(n_atoms) if outputs & UNCERTAINTY else None,
        gradient_value=take(n_results) if outputs & GRADIENT else None,
        by_positions=take(n_atoms, 3) if outputs & GRADIENT else None,
        by_cell=take(n_results, 3, 3) if outputs & GRADIENT else None,
        problems=frame[place:],
    )
