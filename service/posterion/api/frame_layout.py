"""The fixed binary layout: requests, steps and replies as numbers at known places.

Everything is little-endian and every section begins at a multiple of eight bytes, so that C
and Fortran read and write it with plain structures and arrays. ``docs/api.md`` is the
description that authors of clients work from; these modules are held to it by a test of bytes.
"""

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, get_args

from posterion.api.schemas import Output
from posterion.errors import MalformedBody
from posterion.structures.evaluation import GradientScalar
from posterion.structures.prediction import FlagCode
from posterion.structures.units import EnergyUnit, LengthUnit

MAGIC: Final = b"PSTN"
LAYOUT: Final = 1
OUTPUTS: Final[Sequence[Output]] = get_args(Output)
"""Bit i of the mask of outputs stands for entry i; likewise below."""
FLAGS: Final[Sequence[str]] = get_args(FlagCode)
LENGTHS: Final[Sequence[str]] = get_args(LengthUnit)
ENERGIES: Final[Sequence[str]] = get_args(EnergyUnit)
GRADIENTS: Final[Sequence[str]] = get_args(GradientScalar)
ADAPTIVE: Final = -1
CELLS_FOLLOW: Final = 1
CELL_GIVEN: Final = 8
"""In a structure's record, beside the bits 1, 2 and 4 of its periodic directions."""

START: Final = struct.Struct("<4sHHQIIII")
REQUEST: Final = struct.Struct("<4sHHQIIIIdiIIIII")
REPLY: Final = struct.Struct("<4sHHQIIIIdddII")
STRUCTURE: Final = struct.Struct("<IIii")
RESULT: Final = struct.Struct("<IIIIdddddII")
HEADER_BYTES: Final = REPLY.size
RESULT_BYTES: Final = RESULT.size
NAN: Final = float("nan")


class Kind(IntEnum):
    """What a frame is."""

    REQUEST = 1
    REPLY = 2
    STEP = 3


class Status(IntEnum):
    """Of one structure in a reply."""

    OK = 0
    FLAGGED = 1
    ERROR = 2


def check_start(frame: bytes, kind: Kind) -> None:
    """Raise MalformedBody unless a frame begins as one of its kind does."""
    if len(frame) < HEADER_BYTES:
        raise MalformedBody(f"expected a header of {HEADER_BYTES} bytes, got {len(frame)} bytes")
    magic, layout, found = START.unpack_from(frame)[:3]
    if magic != MAGIC or layout != LAYOUT:
        raise MalformedBody(f"expected a frame that begins with PSTN and layout {LAYOUT}")
    if found != kind:
        raise MalformedBody(f"expected a frame of kind {kind.value} ({kind.name}), got {found}")


def check_length(frame: bytes, expected: int) -> None:
    """Raise MalformedBody unless a frame is as long as its counts say."""
    if len(frame) != expected:
        raise MalformedBody(f"expected {expected} bytes for the declared counts, got {len(frame)}")


def read_deadline(value: float) -> float | None:
    """Milliseconds, None for 0; raises MalformedBody for what is no time."""
    if not 0.0 <= value < float("inf"):
        raise MalformedBody("expected a deadline in milliseconds, or 0 for none")
    return value or None


def padded(n_bytes: int) -> int:
    """Length up to the next multiple of eight."""
    return -(-n_bytes // 8) * 8
