"""How the products of a layer are written out, for whatever kernels are generated from them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final, TypeAlias

from posterion.network.frozen import LayerShape, Path
from posterion.network.spline import DEGREE

Pair: TypeAlias = tuple[int, int]

TABLE_ROWS: Final = DEGREE + 1
"""Coefficients of the radial table that one distance needs."""


class AngularColumns:
    """Distinct linear combinations of harmonics that the kernels of all layers need.

    A path couples component a of its source to component c of its target by the sum of
    value * Y[harmonic] over its terms: one number per edge, the same for all samples.
    """

    def __init__(self) -> None:
        """Know none."""
        self._numbers: dict[tuple[tuple[int, float], ...], int] = {}

    def of(self, path: Path) -> dict[Pair, int]:
        """Columns of a path by component of source and of target."""
        ordered = sorted(path.terms, key=lambda term: (term.source, term.target))
        columns = {}
        for pair, terms in groupby(ordered, key=lambda term: (term.source, term.target)):
            combination = tuple(sorted((one.harmonic, round(one.value, 12)) for one in terms))
            columns[pair] = self._numbers.setdefault(combination, len(self._numbers))
        return columns

    @property
    def combinations(self) -> Sequence[tuple[tuple[int, float], ...]]:
        """Harmonics and factors of every column, in order."""
        return tuple(self._numbers)


def slots_of(shape: LayerShape) -> tuple[int, ...]:
    """Number of paths that reach each target."""
    return tuple(
        sum(path.target == target for path in shape.paths) for target in range(len(shape.targets))
    )


def by_target(columns: Mapping[Pair, int]) -> Iterator[tuple[int, list[Pair]]]:
    """Components of the target, each with components of the source and angular columns."""
    for c in sorted({c for _, c in columns}):
        yield c, [(a, n) for (a, other), n in columns.items() if other == c]


def by_source(columns: Mapping[Pair, int]) -> Iterator[tuple[int, list[Pair]]]:
    """Components of the source, each with components of the target and angular columns."""
    for a in sorted({a for a, _ in columns}):
        yield a, [(c, n) for (other, c), n in columns.items() if other == a]
