"""Source of the Triton kernels that sum messages over neighbours, and of their reverse.

The products are those of the CPU's kernels (`posterion.inference.fused.convolution`), and so
are all arrays. A program works on a row of edges of one sample, a few edges at once, with the
channels as its lanes. No two programs write to one place: the reverse for features runs over
the edges that arrive at an atom, so that nothing is added atomically and an answer is the same
at every call.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import TypeAlias

from posterion.inference.coupling import (
    TABLE_ROWS,
    AngularColumns,
    by_source,
    by_target,
    slots_of,
)
from posterion.inference.device_kernels.kernel import Source
from posterion.network.frozen import LayerShape, Path

Place: TypeAlias = tuple[str, str]
"""Name of a block of lanes in a kernel, and the pointers to them."""


def forward_source(shape: LayerShape, angular: AngularColumns) -> Source:
    """Kernel ``convolve``: a program per atom; sums are overwritten."""
    source = Source(
        "convolve",
        *("n_atoms", "n_rows", "n_columns", *_names("x", shape.sources), "radial", "angular"),
        *("first", "neighbor", "knot", "weight", *_names("m", shape.targets)),
    )
    sums = _sums(shape, "m", row="i")
    _begin_row(source, sums)
    with source.block("for at in range(start, stop, STEP):"):
        source.line("e = at + tl.arange(0, STEP)")
        source.line("live = e < stop")
        _load_edge(source, shape, angular)
        _load_blocks(source, "neighbor", _sources(shape, "x", row="j"))
        for number, path in enumerate(shape.paths):
            source.line(f"r = {_radial('b', shape, number)}")
            for c, terms in by_target(angular.of(path)):
                told = " + ".join(f"g{n} * x{path.source}_{a}" for a, n in terms)
                source.line(f"m{_slot(path, c)} += tl.sum(r * ({told}), axis=0)")
    _store_row(source, sums)
    return source


def feature_back_source(shape: LayerShape, angular: AngularColumns) -> Source:
    """Kernel ``convolve_features_back``: a program per atom, over the edges that arrive there.

    ``arriving`` are the edges in the order of their neighbour, ``first`` counts them.
    """
    source = Source(
        "convolve_features_back",
        *("n_atoms", "n_rows", "n_columns", *_names("y", shape.targets), "radial", "angular"),
        *("first", "arriving", "centre", "knot", "weight", *_names("z", shape.sources)),
    )
    sums = _sources(shape, "z", row="i")
    _begin_row(source, sums)
    with source.block("for at in range(start, stop, STEP):"):
        source.line("live = at + tl.arange(0, STEP) < stop")
        source.line("e = tl.load(arriving + at + tl.arange(0, STEP), mask=live, other=0)")
        _load_edge(source, shape, angular)
        _load_blocks(source, "centre", _sums(shape, "y", row="j"))
        for number, path in enumerate(shape.paths):
            source.line(f"r = {_radial('b', shape, number)}")
            for a, terms in by_source(angular.of(path)):
                told = " + ".join(f"g{n} * y{_slot(path, c)}" for c, n in terms)
                source.line(f"z{path.source}_{a} += tl.sum(r * ({told}), axis=0)")
    _store_row(source, sums)
    return source


def edge_back_source(shape: LayerShape, angular: AngularColumns, *, n_harmonics: int) -> Source:
    """Kernel ``convolve_edges_back``: a program per `EDGES_PER_STEP` edges.

    Overwrites the derivatives by the distance and, where the layer uses them, by harmonics.
    """
    source = Source(
        "convolve_edges_back",
        *("n_atoms", "n_edges", "n_rows", "n_columns", *_names("x", shape.sources), "radial"),
        *("angular", "centre", "neighbor", "knot", "weight", "slope"),
        *(*_names("y", shape.targets), "by_harmonic", "by_distance"),
    )
    source.line("k = tl.program_id(1).to(tl.int64)")
    source.line("u = tl.arange(0, LANES)")
    source.line("e = tl.program_id(0) * STEP + tl.arange(0, STEP)")
    source.line("live = e < n_edges")
    _load_edge(source, shape, angular)
    _load_table_weights(source, "d", "slope")
    _load_blocks(source, "neighbor", _sources(shape, "x", row="j"))
    _load_blocks(source, "centre", _sums(shape, "y", row="j"))
    harmonics = sorted({term.harmonic for path in shape.paths for term in path.terms} - {0})
    for name in ("told", *(f"h{harmonic}" for harmonic in harmonics)):
        source.line(f"{name} = tl.zeros((STEP, LANES), tl.float32)")
    for number in range(len(shape.paths)):
        _path_back(source, shape, number, angular)
    source.line("edge = k * n_edges + e")
    source.line("tl.store(by_distance + edge, tl.sum(told, axis=1), mask=live)")
    for harmonic in harmonics:
        place = f"by_harmonic + edge * {n_harmonics} + {harmonic}"
        source.line(f"tl.store({place}, tl.sum(h{harmonic}, axis=1), mask=live)")
    return source


def _path_back(source: Source, shape: LayerShape, number: int, angular: AngularColumns) -> None:
    """Derivatives by an edge, of one path."""
    path = shape.paths[number]
    products = [
        f"x{path.source}_{a} * ({' + '.join(f'g{n} * y{_slot(path, c)}' for c, n in terms)})"
        for a, terms in by_source(angular.of(path))
    ]
    source.line(f"told += ({_radial('d', shape, number)}) * ({' + '.join(products)})")
    source.line(f"r = {_radial('b', shape, number)}")
    by_harmonic = sorted(path.terms, key=lambda term: term.harmonic)
    for harmonic, group in groupby(by_harmonic, key=lambda term: term.harmonic):
        terms = [
            f"{one.value!r} * x{path.source}_{one.source} * y{_slot(path, one.target)}"
            for one in group
        ]
        if harmonic:
            source.line(f"h{harmonic} += r * ({' + '.join(terms)})")


def _names(letter: str, blocks: Sequence[int]) -> list[str]:
    return [f"{letter}{number}" for number in range(len(blocks))]


def _slot(path: Path, component: int) -> str:
    return f"{path.target}_{component}_{path.slot}"


def _sources(shape: LayerShape, letter: str, *, row: str) -> list[Place]:
    """Components of every source of an atom."""
    return [
        (f"{letter}{b}_{a}", f"{letter}{b} + ((k * n_atoms + {row}) * {size} + {a}) * U + u")
        for b, size in enumerate(shape.sources)
        for a in range(size)
    ]


def _sums(shape: LayerShape, letter: str, *, row: str) -> list[Place]:
    """Components of every slot of every target of an atom."""
    return [
        (
            f"{letter}{t}_{c}_{slot}",
            f"{letter}{t} + (((k * n_atoms + {row}) * {size} + {c}) * {slots} + {slot}) * U + u",
        )
        for t, (size, slots) in enumerate(zip(shape.targets, slots_of(shape), strict=True))
        for c in range(size)
        for slot in range(slots)
    ]


def _begin_row(source: Source, sums: Sequence[Place]) -> None:
    """Which row of edges a program has, and sums that begin with zero."""
    source.line("i = tl.program_id(0)")
    source.line("k = tl.program_id(1).to(tl.int64)")
    source.line("u = tl.arange(0, LANES)")
    source.line("start = tl.load(first + i)")
    source.line("stop = tl.load(first + i + 1)")
    for name, _ in sums:
        source.line(f"{name} = tl.zeros((LANES,), tl.float32)")


def _store_row(source: Source, sums: Sequence[Place]) -> None:
    for name, place in sums:
        source.line(f"tl.store({place}, {name}, mask=u < U)")


def _load_edge(source: Source, shape: LayerShape, angular: AngularColumns) -> None:
    """What all samples share of edges ``e``, as columns, and where their rows of the table are."""
    source.line("lanes = live[:, None] & (u < U)")
    source.line("q = tl.load(knot + e, mask=live, other=0)[:, None]")
    source.line(f"table = radial + (k * n_rows + q) * ({len(shape.paths)} * U) + u")
    _load_table_weights(source, "b", "weight")
    for column in sorted({n for path in shape.paths for n in angular.of(path).values()}):
        place = f"angular + e * n_columns + {column}"
        source.line(f"g{column} = tl.load({place}, mask=live, other=0.0)[:, None]")


def _load_table_weights(source: Source, letter: str, array: str) -> None:
    for row in range(TABLE_ROWS):
        place = f"{array} + e * {TABLE_ROWS} + {row}"
        source.line(f"{letter}{row} = tl.load({place}, mask=live, other=0.0)[:, None]")


def _load_blocks(source: Source, atom: str, places: Sequence[Place]) -> None:
    """Channels of the atoms at one end of the edges."""
    source.line(f"j = tl.load({atom} + e, mask=live, other=0)[:, None]")
    for name, place in places:
        source.line(f"{name} = tl.load({place}, mask=lanes, other=0.0)")


def _radial(letter: str, shape: LayerShape, path: int) -> str:
    n_paths = len(shape.paths)
    return " + ".join(
        f"{letter}{row} * tl.load(table + {row * n_paths + path} * U, mask=lanes, other=0.0)"
        for row in range(TABLE_ROWS)
    )
