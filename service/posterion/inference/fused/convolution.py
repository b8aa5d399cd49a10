"""Source of the kernels that sum messages over neighbours, and of their reverse.

Each is generated for one layer: the products of components are written out, so that what
remains are loops over channels, which the compiler turns into vector instructions. A kernel
serves one sample, whose radial table stays in the cache, and the atoms that it is given; no
value per edge and channel is ever written to memory.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from posterion.inference.coupling import (
    TABLE_ROWS,
    AngularColumns,
    Pair,
    by_source,
    by_target,
    slots_of,
)
from posterion.inference.fused.kernel import Source
from posterion.network.frozen import LayerShape, Path


def write_convolution(
    source: Source, name: str, shape: LayerShape, angular: AngularColumns
) -> None:
    """Kernel ``name(features..., radial, angular, first, neighbor, knot, weight, sums...)``.

    Shapes, with U channels: features ``(n_atoms, components * U)``; radial ``(n_rows, n_paths *
    U)``; angular ``(n_edges, n_columns)``; first ``(n_centres + 1,)``; weight ``(n_edges,
    TABLE_ROWS)``; sums ``(n_centres, components * n_slots * U)``, overwritten.
    """
    features, sums = _names("x", shape.sources), _names("m", shape.targets)
    source.define(
        name, *features, "radial", "angular", "first", "neighbor", "knot", "weight", *sums
    )
    with source.loop("i", "first.shape[0] - 1"):
        for total, components, n_slots in zip(sums, shape.targets, slots_of(shape), strict=True):
            with source.loop("u", components * n_slots * shape.n_features):
                source.line(f"{total}[i, u] = ZERO")
        with source.span("e", "first[i]", "first[i + 1]"):
            source.line("j = neighbor[e]")
            source.line("q = knot[e]")
            _load_row(source, "b", "weight")
            _load_angular(source, shape, angular)
            with source.loop("u", shape.n_features):
                _load_features(source, "x", shape)
                for number, path in enumerate(shape.paths):
                    source.line(f"r = {_radial('b', number, shape.n_features)}")
                    for c, terms in by_target(angular.of(path)):
                        into = f"m{path.target}[i, {_place(shape, path, c)} + u]"
                        told = " + ".join(f"g{n} * x{path.source}_{a}" for a, n in terms)
                        source.line(f"{into} += r * ({told})")


def write_convolution_back(
    source: Source, name: str, shape: LayerShape, angular: AngularColumns, *, is_first: bool
) -> None:
    """Kernel of the reverse.

    ``name(features..., radial, angular, first, neighbor, knot, weight, slope, by_sum...,
    by_feature..., by_harmonic, by_distance)``: from derivatives of the energy by the sums to
    those by the features, added to; by the harmonics, ``(n_edges, n_harmonics)`` and the
    distance of every edge, ``(n_edges, 1)``, added to as well. A first layer, whose features
    are constants, has no ``by_feature``.
    """
    by_feature = [] if is_first else _names("z", shape.sources)
    source.define(
        name,
        *_names("x", shape.sources),
        *("radial", "angular", "first", "neighbor", "knot", "weight", "slope"),
        *_names("y", shape.targets),
        *by_feature,
        "by_harmonic",
        "by_distance",
    )
    harmonics = sorted({term.harmonic for path in shape.paths for term in path.terms} - {0})
    with source.loop("i", "first.shape[0] - 1"), source.span("e", "first[i]", "first[i + 1]"):
        source.line("j = neighbor[e]")
        source.line("q = knot[e]")
        _load_row(source, "b", "weight")
        _load_row(source, "d", "slope")
        _load_angular(source, shape, angular)
        source.line("told = ZERO")
        for harmonic in harmonics:
            source.line(f"h{harmonic} = ZERO")
        with source.loop("u", shape.n_features):
            # All paths in one loop: what concerns a component of a source is stored once.
            _load_features(source, "x", shape)
            if by_feature:
                _load_features(source, "z", shape)
            for number, path in enumerate(shape.paths):
                _path_back(source, shape, number, path, angular.of(path), is_first=is_first)
            if by_feature:
                for place, block in _places(shape):
                    source.line(f"z{place} = z{block}")
        source.line("by_distance[e, 0] += told")
        for harmonic in harmonics:
            source.line(f"by_harmonic[e, {harmonic}] += h{harmonic}")


def _path_back(
    source: Source,
    shape: LayerShape,
    number: int,
    path: Path,
    columns: Mapping[Pair, int],
    *,
    is_first: bool,
) -> None:
    """Reverse of one path for one channel."""
    source.line(f"r = {_radial('b', number, shape.n_features)}")
    source.line(f"s = {_radial('d', number, shape.n_features)}")
    for c, _ in by_target(columns):
        source.line(f"y_{c} = y{path.target}[i, {_place(shape, path, c)} + u]")
    products = []
    for a, sums in by_source(columns):
        source.line(f"p_{a} = " + " + ".join(f"g{n} * y_{c}" for c, n in sums))
        products.append(f"p_{a} * x{path.source}_{a}")
        if not is_first:
            source.line(f"z{path.source}_{a} += r * p_{a}")
    source.line(f"told += s * ({' + '.join(products)})")
    by_harmonic = sorted(path.terms, key=lambda term: term.harmonic)
    for harmonic, group in groupby(by_harmonic, key=lambda term: term.harmonic):
        terms = [
            source.times(one.value, f"x{path.source}_{one.source} * y_{one.target}")
            for one in group
        ]
        if harmonic:
            source.line(f"h{harmonic} += r * ({' + '.join(terms)})")


def _places(shape: LayerShape) -> Iterator[tuple[str, str]]:
    """Where every component of every source is, and its name in a kernel."""
    for block, components in enumerate(shape.sources):
        for a in range(components):
            yield f"{block}[j, {a * shape.n_features} + u]", f"{block}_{a}"


def _load_features(source: Source, letter: str, shape: LayerShape) -> None:
    for place, name in _places(shape):
        source.line(f"{letter}{name} = {letter}{place}")


def _load_angular(source: Source, shape: LayerShape, angular: AngularColumns) -> None:
    for column in sorted({n for path in shape.paths for n in angular.of(path).values()}):
        source.line(f"g{column} = angular[e, {column}]")


def _place(shape: LayerShape, path: Path, component: int) -> int:
    """Where a component of a path's target starts among the columns of an atom."""
    return (component * slots_of(shape)[path.target] + path.slot) * shape.n_features


def _names(letter: str, blocks: Sequence[int]) -> list[str]:
    return [f"{letter}{number}" for number in range(len(blocks))]


def _load_row(source: Source, letter: str, array: str) -> None:
    for row in range(TABLE_ROWS):
        source.line(f"{letter}{row} = {array}[e, {row}]")


def _radial(letter: str, path: int, n_features: int) -> str:
    return " + ".join(
        f"{letter}{row} * radial[q + {row}, {path * n_features} + u]" for row in range(TABLE_ROWS)
    )
