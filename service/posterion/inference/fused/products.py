"""Source of matrix products, tiled so that a tile of the matrix stays in vector registers.

Matrices here are small: a library's call for each of them costs more than the product does.
"""

from typing import Final

from posterion.inference.fused.kernel import Source

TILE_ROWS: Final = 8
TILE_COLUMNS: Final = 16


def write_product(source: Source, name: str, *, add: bool) -> None:
    """Kernel ``name(x, w, o)``: ``o = x w``, or ``o += x w``.

    Args:
        source: Where it is written.
        name: Its name.
        add: Whether o is added to.
    """
    source.define(name, "x", "w", "o")
    source.line("n_rows, n_columns = w.shape")
    source.line(f"whole = n_rows - n_rows % {TILE_ROWS}")
    with source.span("column", 0, "n_columns", TILE_COLUMNS):
        source.line(f"width = min({TILE_COLUMNS}, n_columns - column)")
        if not add:
            source.line("if whole == 0:")
            with source.inside():
                _write_tile(source, 0, "=")
        with source.span("row", 0, "whole", TILE_ROWS):
            for u in range(TILE_ROWS):
                source.line(f"u{u} = uint64(row + {u})")
            if add:
                _write_tile(source, TILE_ROWS, "+=")
            else:
                source.line("if row == 0:")
                with source.inside():
                    _write_tile(source, TILE_ROWS, "=")
                source.line("else:")
                with source.inside():
                    _write_tile(source, TILE_ROWS, "+=")
        with source.span("row", "whole", "n_rows"):
            source.line("u0 = uint64(row)")
            _write_tile(source, 1, "+=")


def _write_tile(source: Source, n_rows: int, sign: str) -> None:
    """One tile for all rows of x. Indices without a sign: numba looks where others count from."""
    place = "uint64(column + c)"
    terms = " + ".join(f"x[i, u{u}] * w[u{u}, {place}]" for u in range(n_rows)) or "ZERO"
    source.line(f"if width == {TILE_COLUMNS}:")
    with source.inside(), source.loop("i", "x.shape[0]"), source.loop("c", TILE_COLUMNS):
        source.line(f"o[i, {place}] {sign} {terms}")
    source.line("else:")
    with source.inside(), source.loop("i", "x.shape[0]"), source.loop("c", "width"):
        source.line(f"o[i, {place}] {sign} {terms}")
