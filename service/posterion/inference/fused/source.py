"""Python text of a kernel, and its compilation."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import numba
import numpy as np

Kernel = Callable[..., Any]


class Source:
    """One function, written line by line, with constants in single precision.

    Numba takes a number in the text for a double, which would make every product one.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lines: list[str] = []
        self._constants: dict[float, str] = {}
        self._depth = 0

    def define(self, name: str, *arguments: str) -> None:
        """Write the head of the function."""
        self._lines.append(f"def {name}({', '.join(arguments)}):")
        self._depth = 1

    def line(self, text: str) -> None:
        """Write one line."""
        self._lines.append("    " * self._depth + text)

    def loop(self, index: str, n: int | str) -> Any:  # noqa: ANN401 - a context manager
        """Repeat what follows."""
        return self.span(index, 0, n)

    @contextmanager
    def span(self, index: str, start: int | str, stop: int | str) -> Iterator[None]:
        """Repeat what follows."""
        self.line(f"for {index} in range({start}, {stop}):")
        self._depth += 1
        yield
        self._depth -= 1

    def number(self, value: float) -> str:
        """A constant in single precision, by name."""
        return self._constants.setdefault(value, f"C{len(self._constants)}")

    def times(self, value: float, expression: str) -> str:
        """A product with a constant."""
        if value == 1.0:
            return f"({expression})"
        if value == -1.0:
            return f"(-({expression}))"
        return f"{self.number(value)} * ({expression})"

    @property
    def text(self) -> str:
        """The function with its constants before it, ready for `compiled`."""
        constants = [f"{name} = float32({value!r})" for value, name in self._constants.items()]
        return "\n".join([*constants, *self._lines, ""])


def compiled(text: str) -> Kernel:
    """Compile the one function of a text; its machine code is made at the first call."""
    space: dict[str, Any] = {
        "float32": np.float32,
        "float64": np.float64,
        "empty": np.empty,
        "sqrt": np.sqrt,
        "tanh": math.tanh,
        "ZERO": np.float32(0.0),
        "ONE": np.float32(1.0),
    }
    exec(text, space)  # noqa: S102 - written by the generators of this package
    (function,) = (made for made in space.values() if isinstance(made, FunctionType))
    kernel: Kernel = numba.njit(fastmath=True, error_model="numpy", nogil=True)(function)
    kernel._compiler._customize_flags = _no_alias
    return kernel


def _no_alias(flags):
    flags.noalias = True
    return flags
