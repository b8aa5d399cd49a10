"""Replies in the binary layout: how they are written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray

from posterion.api.frame_layout import (
    FLAGS,
    HEADER_BYTES,
    LAYOUT,
    MAGIC,
    NAN,
    OUTPUTS,
    REPLY,
    RESULT,
    RESULT_BYTES,
    Kind,
    Status,
    padded,
)
from posterion.api.replies import unit_of
from posterion.api.schemas import Output
from posterion.structures.prediction import Prediction, UncertaintyGradient, square_sums
from posterion.structures.units import UnitSystem

FloatArray = NDArray[np.float64]

_REPLY: Final = int(Kind.REPLY)
_OK, _FLAGGED, _ERROR = (int(status) for status in (Status.OK, Status.FLAGGED, Status.ERROR))
"""Packed as plain numbers, which enumerations are slower to become."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Refused:
    """A structure that has an error in place of a result.

    Attributes:
        problem: The problem document.
        n_atoms: Atoms of the structure; their numbers are NaN.
    """

    problem: dict[str, object]
    n_atoms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyHeader:
    """What a reply says of itself.

    Attributes:
        step: Number of the step; 0 in an HTTP reply.
        outputs: What was asked for.
        timing_ms: Waiting, neighbours, evaluation.
        n_rebuilds: Images whose neighbours were listed anew.
    """

    step: int
    outputs: Sequence[Output]
    timing_ms: tuple[float, float, float]
    n_rebuilds: int = 0


def encode_reply(
    results: Sequence[Prediction | Refused], header: ReplyHeader, units: UnitSystem
) -> bytes:
    """Write a reply.

    Args:
        results: In eV and Angstrom, or errors; in the order of the structures.
        header: What else the reply says.
        units: Of the reply.

    Returns:
        The frame.
    """
    sizes = [len(r.forces) if isinstance(r, Prediction) else r.n_atoms for r in results]
    n_atoms, n_results = sum(sizes), len(results)
    outputs = header.outputs
    wanted = [name in outputs for name in OUTPUTS]
    section_sizes = _section_sizes(wanted, n_atoms, n_results)
    n_floats = sum(section_sizes)
    problems = [orjson.dumps(r.problem) if isinstance(r, Refused) else b"" for r in results]
    start = HEADER_BYTES + RESULT_BYTES * n_results
    text = b"".join(problems)
    frame = bytearray(start + 8 * n_floats + padded(len(text)))
    REPLY.pack_into(
        frame, 0, MAGIC, LAYOUT, _REPLY, header.step, n_results, n_atoms, _mask(wanted), 0,
        *header.timing_ms, header.n_rebuilds, 0,
    )  # fmt: skip
    values = np.frombuffer(frame, "<f8", n_floats, start)
    sections = _Sections(values, section_sizes, wanted)
    energy_factor = units.energy_factor if wanted[0] else NAN
    first = 0
    for index, (result, size) in enumerate(zip(results, sizes, strict=True)):
        place = HEADER_BYTES + RESULT_BYTES * index
        if isinstance(result, Refused):
            record = (_ERROR, 0, 0, 0, *[NAN] * 5, len(problems[index]), 0)
            sections.void(index, slice(first, first + size))
        else:
            numbers = sections.fill(index, slice(first, first + size), result, units)
            record = (*_judgement(result), result.energy * energy_factor, *numbers, 0, 0)
        RESULT.pack_into(frame, place, *record)
        first += size
    if text:
        frame[start + 8 * n_floats : start + 8 * n_floats + len(text)] = text
    return bytes(frame)


def _mask(wanted: Sequence[bool]) -> int:
    return sum(1 << bit for bit, asked in enumerate(wanted) if asked)


class _Sections:
    """The arrays of a reply, as views of its frame."""

    def __init__(self, values: FloatArray, sizes: Sequence[int], wanted: Sequence[bool]) -> None:
        _, forces, stress, uncertainty, gradient = wanted
        parts: list[FloatArray] = []
        first = 0
        for size in sizes:
            parts.append(values[first : first + size])
            first += size
        self.forces = parts[0].reshape(-1, 3) if forces else None
        self.stress = parts[1].reshape(-1, 3, 3) if stress else None
        self.spread = parts[2].reshape(2, -1) if uncertainty else None
        self.gradient = (
            (parts[3], parts[4].reshape(-1, 3), parts[5].reshape(-1, 3, 3)) if gradient else None
        )

    def void(self, index: int, atoms: slice) -> None:
        """Write NaN for a structure without a result."""
        if self.forces is not None:
            self.forces[atoms] = NAN
        if self.stress is not None:
            self.stress[index] = NAN
        if self.spread is not None:
            self.spread[:, atoms] = NAN
        self._fill_gradient(index, atoms, None, UnitSystem())

    def fill(
        self, index: int, atoms: slice, result: Prediction, units: UnitSystem
    ) -> tuple[float, float, float, float]:
        """Write the arrays of one result; epistemic and total of its energy, max and rms."""
        if self.forces is not None:
            np.multiply(result.forces, units.forces_factor, out=self.forces[atoms])
        if self.stress is not None:
            given = result.stress
            self.stress[index] = NAN if given is None else given * units.stress_factor
        self._fill_gradient(index, atoms, result.uncertainty_gradient, units)
        found = result.uncertainty
        if self.spread is None or found is None:
            return (NAN, NAN, NAN, NAN)
        factor = units.forces_factor
        epistemic, total = found.forces_per_atom, found.forces_total * factor
        np.multiply(epistemic, factor, out=self.spread[0, atoms])
        np.sqrt(square_sums(total) / 3.0, out=self.spread[1, atoms])
        return (
            found.energy_epistemic * units.energy_factor,
            found.energy_total * units.energy_factor,
            float(epistemic.max()) * factor,
            found.forces_rms * factor,
        )

    def _fill_gradient(
        self, index: int, atoms: slice, found: UncertaintyGradient | None, units: UnitSystem
    ) -> None:
        if self.gradient is None:
            return
        values, positions, cells = self.gradient
        values[index], positions[atoms], cells[index] = NAN, NAN, NAN
        if found is None:
            return
        factor, _ = unit_of(found.unit, units)
        values[index] = found.value * factor
        np.multiply(found.positions, factor * units.angstrom, out=positions[atoms])
        if found.cell is not None:
            np.multiply(found.cell, factor * units.angstrom, out=cells[index])


def _section_sizes(wanted: Sequence[bool], n_atoms: int, n_results: int) -> list[int]:
    """Numbers in every array behind the records, in their order."""
    _, forces, stress, uncertainty, gradient = wanted
    return [
        3 * n_atoms * forces,
        9 * n_results * stress,
        2 * n_atoms * uncertainty,
        n_results * gradient,
        3 * n_atoms * gradient,
        9 * n_results * gradient,
    ]


def _judgement(result: Prediction) -> tuple[int, int, int, int]:
    """Status, samples, and the flags of both severities as bits."""
    candidate = failed = 0
    for flag in result.flags:
        bit = 1 << FLAGS.index(flag.code)
        if flag.severity == "failed":
            failed |= bit
        else:
            candidate |= bit
    status = _FLAGGED if result.flags else _OK
    return (status, result.n_samples, candidate, failed)
