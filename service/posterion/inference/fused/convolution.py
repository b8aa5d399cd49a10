"""Source of the kernels that sum messages over neighbours, and of their reverse.

Each is generated for one layer: the products of components are written out, so that what
remains are loops over channels, which the compiler turns into vector instructions. Samples are
the outermost loop: the radial table of one sample stays in the cache, and no value per edge
and channel is ever written to memory.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from posterion.inference.fused.source import Source
from posterion.network.frozen import LayerShape, Path

TABLE_ROWS = 4
"""Coefficients of the radial table that one distance needs."""


class AngularColumns:
    """Distinct linear combinations of harmonics that the kernels of all layers need.

    A path couples component a of its source to component c of its target by the sum of
    value * Y[harmonic] over its terms: one number per edge, the same for all samples.
    """

    def __init__(self) -> None:
        """Know none."""
        self._numbers: dict[tuple[tuple[int, float], ...], int] = {}

    def of(self, path: Path) -> dict[tuple[int, int], int]:
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


def forward_source(shape: LayerShape, angular: AngularColumns) -> str:
    """Kernel ``convolve(features..., radial, angular, first, neighbor, knot, weight, sums...)``.

    Shapes, K samples and U channels: features ``(K, n_atoms, components, U)``; radial ``(K,
    n_rows, n_paths * U)``; angular ``(n_edges, n_columns)``; first ``(n_atoms + 1,)``; weight
    ``(n_edges, 4)``; sums ``(K, n_atoms, components, n_slots * U)``, overwritten.
    """
    source = Source()
    features, sums = _names("x", shape.sources), _names("m", shape.targets)
    source.define(
        "convolve", *features, "radial", "angular", "first", "neighbor", "knot", "weight", *sums
    )
    with source.loop("k", "radial.shape[0]"), source.loop("i", "first.shape[0] - 1"):
        for name, components, n_slots in zip(
            sums, shape.targets, slots_of(shape), strict=True
        ):
            with source.loop("c", components), source.loop("u", n_slots * shape.n_features):
                source.line(f"{name}[k, i, c, u] = ZERO")
        with source.span("e", "first[i]", "first[i + 1]"):
            source.line("j = neighbor[e]")
            source.line("q = knot[e]")
            _load_row(source, "b", "weight")
            for number, path in enumerate(shape.paths):
                _message(source, shape, angular, number, path)
    return source.text


def _message(
    source: Source, shape: LayerShape, angular: AngularColumns, number: int, path: Path
) -> None:
    columns = angular.of(path)
    for (a, c), column in columns.items():
        source.line(f"g{a}_{c} = angular[e, {column}]")
    with source.loop("u", shape.n_features):
        source.line(f"r = {_radial('b', number, shape.n_features)}")
        for a in sorted({a for a, _ in columns}):
            source.line(f"x_{a} = r * x{path.source}[k, j, {a}, u]")
        for c, terms in _by_target(columns):
            into = f"m{path.target}[k, i, {c}, {path.slot * shape.n_features} + u]"
            source.line(f"{into} += " + " + ".join(f"g{a}_{c} * x_{a}" for a in terms))


def backward_source(shape: LayerShape, angular: AngularColumns, *, is_first: bool) -> str:
    """Kernel of the reverse.

    ``convolve_back(features..., radial, angular, first, neighbor, knot, weight, slope,
    by_sum..., by_feature..., by_harmonic, by_distance)``: from derivatives of the energy by
    the sums to those by the features, added to; by the harmonics, ``(K, n_edges, n_harmonics)``
    and the distance of every edge, ``(K, n_edges)``, added to as well. A first layer, whose
    features are constants, has no ``by_feature``.
    """
    source = Source()
    features, by_sum = _names("x", shape.sources), _names("y", shape.targets)
    by_feature = [] if is_first else _names("z", shape.sources)
    source.define(
        "convolve_back",
        *features,
        *("radial", "angular", "first", "neighbor", "knot", "weight", "slope"),
        *by_sum,
        *by_feature,
        "by_harmonic",
        "by_distance",
    )
    n_harmonics = 1 + max(term.harmonic for path in shape.paths for term in path.terms)
    source.line(f"lanes = empty(({n_harmonics}, {shape.n_features}), float32)")
    with source.loop("k", "radial.shape[0]"), source.loop("i", "first.shape[0] - 1"):
        with source.span("e", "first[i]", "first[i + 1]"):
            source.line("j = neighbor[e]")
            source.line("q = knot[e]")
            _load_row(source, "b", "weight")
            _load_row(source, "d", "slope")
            with source.loop("c", n_harmonics), source.loop("u", shape.n_features):
                source.line("lanes[c, u] = ZERO")
            for number, path in enumerate(shape.paths):
                _message_back(source, shape, angular, number, path, is_first=is_first)
            # Row 0 belongs to the constant harmonic: it collects the distance instead.
            for row in range(n_harmonics):
                source.line("total = ZERO")
                with source.loop("u", shape.n_features):
                    source.line(f"total += lanes[{row}, u]")
                into = f"by_harmonic[k, e, {row}]" if row else "by_distance[k, e]"
                source.line(f"{into} += total")
    return source.text


def _message_back(
    source: Source,
    shape: LayerShape,
    angular: AngularColumns,
    number: int,
    path: Path,
    *,
    is_first: bool,
) -> None:
    columns = angular.of(path)
    for (a, c), column in columns.items():
        source.line(f"g{a}_{c} = angular[e, {column}]")
    with source.loop("u", shape.n_features):
        source.line(f"r = {_radial('b', number, shape.n_features)}")
        source.line(f"s = {_radial('d', number, shape.n_features)}")
        for a in sorted({a for a, _ in columns}):
            source.line(f"x_{a} = x{path.source}[k, j, {a}, u]")
        for c in sorted({c for _, c in columns}):
            column = f"{path.slot * shape.n_features} + u"
            source.line(f"y_{c} = y{path.target}[k, i, {c}, {column}]")
        for a, terms in _by_source(columns):
            source.line(f"z_{a} = " + " + ".join(f"g{a}_{c} * y_{c}" for c in terms))
            if not is_first:
                source.line(f"z{path.source}[k, j, {a}, u] += r * z_{a}")
        told = " + ".join(f"z_{a} * x_{a}" for a, _ in _by_source(columns))
        source.line(f"lanes[0, u] += s * ({told})")
        by_harmonic = sorted(path.terms, key=lambda term: term.harmonic)
        for harmonic, terms in groupby(by_harmonic, key=lambda term: term.harmonic):
            if harmonic:
                products = [
                    source.times(term.value, f"x_{term.source} * y_{term.target}")
                    for term in terms
                ]
                source.line(f"lanes[{harmonic}, u] += r * ({' + '.join(products)})")


def slots_of(shape: LayerShape) -> tuple[int, ...]:
    """Number of paths that reach each target."""
    return tuple(
        sum(path.target == target for path in shape.paths) for target in range(len(shape.targets))
    )


def _names(letter: str, blocks: Sequence[int]) -> list[str]:
    return [f"{letter}{number}" for number in range(len(blocks))]


def _load_row(source: Source, letter: str, array: str) -> None:
    for row in range(TABLE_ROWS):
        source.line(f"{letter}{row} = {array}[e, {row}]")


def _radial(letter: str, path: int, n_features: int) -> str:
    return " + ".join(
        f"{letter}{row} * radial[k, q + {row}, {path * n_features} + u]"
        for row in range(TABLE_ROWS)
    )


def _by_target(columns: dict[tuple[int, int], int]) -> Iterator[tuple[int, list[int]]]:
    for c in sorted({c for _, c in columns}):
        yield c, [a for a, other in columns if other == c]


def _by_source(columns: dict[tuple[int, int], int]) -> Iterator[tuple[int, list[int]]]:
    for a in sorted({a for a, _ in columns}):
        yield a, [c for other, c in columns if other == a]
