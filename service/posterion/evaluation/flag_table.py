"""Which flags frames carry, and whether a flag means an error."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from posterion.structures.prediction import Flag, FlagCode
from posterion.uncertainty.bootstrap import INTERVAL_LEVEL

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

ANY_FLAG: Final = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proportion:
    """A count of frames, with Wilson's 95 % interval of the fraction.

    Attributes:
        count: Frames counted.
        of: Frames looked at.
    """

    count: int
    of: int

    @property
    def fraction(self) -> float | None:
        """``count / of``; None of no frames."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's interval (J. Am. Stat. Assoc. 22, 209, 1927); None of no frames."""
        if not self.of:
            return None
        found = binomtest(self.count, self.of).proportion_ci(INTERVAL_LEVEL, method="wilson")
        return float(found.low), float(found.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagRow:
    """What one flag code did.

    Attributes:
        code: The code, or ``any``.
        flagged: Of all frames, those that carry it at any severity.
        failed: Of all frames, those that carry it as ``failed``.
        high_error: Of the frames with a large error on some atom, those flagged.
        between: Of the frames between, those flagged.
        low_error: Of the frames with small errors only, those flagged.
    """

    code: str
    flagged: Proportion
    failed: Proportion
    high_error: Proportion
    between: Proportion
    low_error: Proportion


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagTable:
    """Flags against the largest force error of each frame.

    Attributes:
        low: All errors of a frame with small errors lie below it, eV/Angstrom.
        high: A frame with a large error has one above it, eV/Angstrom.
        rows: ``any`` first, then one per code.
    """

    low: float
    high: float
    rows: tuple[FlagRow, ...]


def flag_table(
    flags: Sequence[Sequence[Flag]], largest_error: FloatArray, *, low: float, high: float
) -> FlagTable:
    """Count flags by code and by error.

    Args:
        flags: Flags of each frame.
        largest_error: Largest error of the force on an atom, shape ``(n_frames,)``,
            eV/Angstrom.
        low: See `FlagTable`.
        high: See `FlagTable`.

    Returns:
        The table.
    """
    classes = (largest_error > high, largest_error < low)
    rows = [_row(ANY_FLAG, [list(one) for one in flags], classes)]
    for code in get_args(FlagCode):
        mine = [[flag for flag in one if flag.code == code] for one in flags]
        rows.append(_row(code, mine, classes))
    return FlagTable(low=low, high=high, rows=tuple(rows))


def _row(
    code: str, flags: Sequence[Sequence[Flag]], classes: tuple[BoolArray, BoolArray]
) -> FlagRow:
    flagged = np.array([len(one) > 0 for one in flags])
    failed = np.array([any(flag.severity == "failed" for flag in one) for one in flags])
    high, low = classes

    def within(which: BoolArray) -> Proportion:
        return Proportion(count=int(flagged[which].sum()), of=int(which.sum()))

    return FlagRow(
        code=code,
        flagged=within(np.ones_like(flagged)),
        failed=Proportion(count=int(failed.sum()), of=failed.size),
        high_error=within(high),
        between=within(~high & ~low),
        low_error=within(low),
    )
