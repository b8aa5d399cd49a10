"""Text of a Triton kernel, and the kernel made of it.

Triton is imported here alone, and only when an engine is built: it is an optional dependency.
"""

import hashlib
import importlib
import linecache
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor

from posterion.errors import ConfigurationError

EDGES_PER_STEP: Final = 8
"""Edges that a program takes at once, a power of two; not tuned, for want of a GPU."""


class Source:
    """One function, written line by line."""

    def __init__(self, name: str, *arguments: str) -> None:
        """Write the head; the kernel gets channels, lanes and edges per step as well."""
        sizes = ["U: tl.constexpr", "LANES: tl.constexpr", "STEP: tl.constexpr"]
        self._name, self._depth = name, 1
        self._lines = [f"def {name}({', '.join([*arguments, *sizes])}):"]

    def line(self, text: str) -> None:
        """Write one line."""
        self._lines.append("    " * self._depth + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Write what follows under a head."""
        self.line(head)
        self._depth += 1
        yield
        self._depth -= 1

    @property
    def text(self) -> str:
        """The function."""
        return "\n".join([*self._lines, ""])


class Kernel:
    """A kernel for blocks of channels; compiled by Triton at the first call."""

    def __init__(self, source: Source, *, n_features: int) -> None:
        """Hand the text to Triton.

        Args:
            source: The function.
            n_features: Channels.

        Raises:
            ConfigurationError: If Triton is not installed.
        """
        self.function = _jitted(source.text)
        lanes = 1 << (n_features - 1).bit_length()
        self._sizes = {"U": n_features, "LANES": lanes, "STEP": EDGES_PER_STEP}

    def __call__(self, grid: tuple[int, int], *arguments: Tensor | int) -> None:
        """Run one program per row and sample; none where there are none.

        Args:
            grid: Rows and samples.
            arguments: Of the function; tensors must be contiguous.
        """
        if all(grid):
            self.function[grid](*arguments, **self._sizes)


def _jitted(text: str) -> Any:  # noqa: ANN401 - Triton's own type, where there is Triton
    triton, language = _triton()
    name = f"<posterion kernel {hashlib.sha256(text.encode()).hexdigest()[:32]}>"
    # Triton reads the source of a function again, as a traceback would.
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    space: dict[str, Any] = {"tl": language, "__name__": "posterion_kernels"}
    exec(compile(text, name, "exec"), space)  # noqa: S102 - written by this package
    (function,) = (
        one for one in space.values() if getattr(one, "__module__", "") == space["__name__"]
    )
    return triton.jit(function)


def _triton() -> tuple[Any, Any]:
    try:
        return importlib.import_module("triton"), importlib.import_module("triton.language")
    except ImportError as error:
        raise ConfigurationError(
            "engine triton needs the package triton; install it with: pip install 'posterion[gpu]'"
        ) from error


def check_device(device: torch.device) -> None:
    """Triton runs on a GPU; on a CPU only its interpreter does, which is for tests.

    Raises:
        ConfigurationError: If Triton is not installed, or cannot run on the device.
    """
    triton, _ = _triton()
    if device.type != "cuda" and not triton.knobs.runtime.interpret:
        raise ConfigurationError(f"engine triton needs a CUDA device, got {device}")
