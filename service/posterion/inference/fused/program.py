"""Text of a whole pass, forward and back, and where it keeps its numbers.

A pass is one function that takes one sample after the other through every layer, so that
nothing returns to Python in between and the memory of one sample serves them all.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from posterion.inference.fused.kernel import Source
from posterion.inference.fused.products import write_product

ATOMS_AT_ONCE: Final = 32
"""Messages are summed and multiplied by so many atoms at a time, to stay in the cache."""


class Block(NamedTuple):
    """Features of one irrep, of every atom, in the working memory.

    Attributes:
        at: Where it starts.
        components: 2 l + 1.
        channels: Of every component.
    """

    at: str
    components: int
    channels: int

    def atoms(self, start: str = "0", stop: str = "n") -> str:
        """Text of some atoms, one per row."""
        columns = self.components * self.channels
        return _view("work", f"{self.at} + {start} * {columns}", f"({stop} - {start})", columns)

    def rows(self, start: str = "0", stop: str = "n") -> str:
        """Text of some atoms, one component per row."""
        at = f"{self.at} + {start} * {self.components * self.channels}"
        return _view("work", at, f"({stop} - {start}) * {self.components}", self.channels)


class Matrix(NamedTuple):
    """A weight among those of a sample; or several, one per element.

    Attributes:
        at: Where it starts.
        n_rows: Of each.
        n_columns: Of each.
    """

    at: int
    n_rows: int
    n_columns: int

    def text(self, element: str = "0") -> str:
        """Text of it, or of that of an element."""
        size = self.n_rows * self.n_columns
        at = f"{self.at}" if element == "0" else f"{self.at} + {element} * {size}"
        return _view("w", at, f"{self.n_rows}", self.n_columns)


def _view(array: str, at: str, n_rows: str, n_columns: int) -> str:
    return f"view({array}, {at}, {n_rows}, {n_columns})"


class _Region:
    """Part of the working memory, given out from its start."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._used = self.size = 0

    def take(self, components: int, channels: int, *, unit: int = 1) -> Block:
        block = Block(self._pattern.format(self._used), components, channels)
        self._used += components * channels * unit
        self.size = max(self.size, self._used)
        return block

    def clear(self) -> None:
        self._used = 0


class Program:
    """Collects kernels, the steps that call them, weights, and working memory."""

    ARGUMENTS: Final = ("weights", "work", "scratch", "edge", "batch")

    def __init__(self, *arguments: str) -> None:
        """Begin a pass.

        Args:
            arguments: Arrays that it is given besides weights and working memory.
        """
        self.body = Source()
        self._kernels = Source()
        self._names: dict[tuple[str, Hashable], str] = {}
        self._weights: list[Tensor] = []
        self._n_weights = 0
        self._lasting = _Region("{} * n")
        self._scratch = _Region("scratch + {} * n")
        self._batch = _Region("batch + {}")
        self.body.define("evaluate", *self.ARGUMENTS, *arguments)

    def kernel(self, stem: str, key: Hashable, write: Callable[[Source, str], None]) -> str:
        """Name of a kernel, which is written when it is first asked for."""
        name = self._names.get((stem, key))
        if name is None:
            name = self._names[stem, key] = f"{stem}_{len(self._names)}"
            write(self._kernels, name)
        return name

    def call(self, name: str, *arguments: str) -> None:
        """Write a step."""
        self.body.line(f"{name}({', '.join(arguments)})")

    def multiply(self, x: str, matrix: Matrix, o: str, *, add: bool, element: str = "0") -> None:
        """Write a product: ``o = x matrix``, or ``o += x matrix``."""
        name = self.kernel(
            "multiply", add, lambda source, name: write_product(source, name, add=add)
        )
        self.call(name, x, matrix.text(element), o)

    def clear(self, o: str) -> None:
        """Write zeros."""
        self.call(self.kernel("clear", None, _write_clear), o)

    def weight(self, values: Tensor) -> Matrix:
        """Take up a matrix of every sample, ``(K, n_rows, n_columns)``, or one per element."""
        place = Matrix(self._n_weights, *values.shape[-2:])
        self._weights.append(values.flatten(1))
        self._n_weights += self._weights[-1].shape[1]
        return place

    def lasting(self, components: int, channels: int) -> Block:
        """A block that is kept until the pass ends."""
        return self._lasting.take(components, channels)

    def scratch(self, sizes: Sequence[tuple[int, int]]) -> list[Block]:
        """Blocks that are kept until this is called again."""
        self._scratch.clear()
        return [self._scratch.take(*size) for size in sizes]

    def batch(self, sizes: Sequence[tuple[int, int]]) -> list[Block]:
        """Blocks of `ATOMS_AT_ONCE` atoms, which are kept until this is called again."""
        self._batch.clear()
        return [self._batch.take(*size, unit=ATOMS_AT_ONCE) for size in sizes]

    def packed(self) -> NDArray[np.float32]:
        """All weights, ``(K, n_weights)``; the matrices taken up are let go."""
        matrices, self._weights = self._weights, []
        # Memory from numpy: it asks for large pages, torch does not.
        return np.concatenate([each.numpy() for each in matrices], axis=1)

    def memory(self, *, n_atoms: int, n_edges: int, n_per_edge: int) -> tuple[int, int, int, int]:
        """Size of the working memory; where scratch, edges and batches begin in it."""
        scratch = n_atoms * self._lasting.size
        edge = scratch + n_atoms * self._scratch.size
        batch = edge + n_edges * n_per_edge
        return batch + self._batch.size, scratch, edge, batch

    @property
    def text(self) -> str:
        """Everything, ready for `posterion.inference.fused.kernel.compiled`."""
        return self._kernels.text + self.body.text


def _write_clear(source: Source, name: str) -> None:
    source.define(name, "o")
    with source.loop("i", "o.shape[0]"), source.loop("u", "o.shape[1]"):
        source.line("o[i, u] = ZERO")
