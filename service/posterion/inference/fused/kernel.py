"""Text of a kernel, and its compilation by numba.

Machine code is kept in a cache of the user, by the digest of the text: what is compiled once
is loaded by every later process. The cache holds programs, so it is used only where nobody
else can write.
"""

import hashlib
import inspect
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache, partial
from pathlib import Path
from types import FunctionType
from typing import Any, Final

import numba
import numpy as np
from numba.core.dispatcher import Dispatcher

from posterion.inference.fused import view as view_module

Kernel = Callable[..., Any]

CACHE_VARIABLE: Final = "POSTERION_KERNEL_CACHE"
"""Folder of the cache; empty = none. Default: ``posterion/kernels`` in the user's cache."""

_OTHERS_WRITE: Final = 0o022
_LOGGER: Final = logging.getLogger(__name__)


class Source:
    """Functions, written line by line, with constants in single precision.

    Numba takes a number in the text for a double, which would make every product one.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lines: list[str] = []
        self._constants: dict[float, str] = {}
        self._depth = 0

    def define(self, name: str, *arguments: str) -> None:
        """Write the head of a function; what follows is its body."""
        self._lines += ["@kernel", f"def {name}({', '.join(arguments)}):"]
        self._depth = 1

    def line(self, text: str) -> None:
        """Write one line."""
        self._lines.append("    " * self._depth + text)

    def loop(self, index: str, n: int | str) -> AbstractContextManager[None]:
        """Repeat what follows n times."""
        return self.span(index, 0, n)

    @contextmanager
    def span(self, index: str, start: int | str, stop: int | str, step: int = 1) -> Iterator[None]:
        """Repeat what follows from start to stop, exclusive."""
        self.line(f"for {index} in range({start}, {stop}, {step}):")
        with self.inside():
            yield

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Indent what follows: the line before it ended with a colon."""
        self._depth += 1
        yield
        self._depth -= 1

    def times(self, value: float, expression: str) -> str:
        """A product with a constant."""
        if abs(value) == 1.0:
            return f"({expression})" if value > 0.0 else f"(-({expression}))"
        return f"{self.constant(value)} * ({expression})"

    def constant(self, value: float) -> str:
        """Name of a number."""
        return self._constants.setdefault(value, f"C{len(self._constants)}")

    @property
    def text(self) -> str:
        """The functions with their constants before them, ready for `compiled`."""
        constants = [f"{name} = float32({value!r})" for value, name in self._constants.items()]
        return "\n".join([*constants, *self._lines, ""])


def compiled(text: str) -> Kernel:
    """Compile the last function of a text, which may call those before it.

    Its machine code is made at the first call, and is kept with what it calls.
    """
    digest = _digest(text)
    file = _kept(text, digest)
    space: dict[str, Any] = {
        "__name__": __name__,
        "kernel": partial(_kernel, digest),
        "float32": np.float32,
        "float64": np.float64,
        "int32": np.int32,
        "int64": np.int64,
        "uint64": np.uint64,
        "empty": np.empty,
        "floor": np.floor,
        "sqrt": np.sqrt,
        "tanh": np.tanh,
        "view": view_module.view,
        "ZERO": np.float32(0.0),
        "ONE": np.float32(1.0),
    }
    code = compile(text, str(file) if file else "<posterion kernel>", "exec")
    exec(code, space)  # noqa: S102 - written by the generators of this package
    *_, last = (one for one in space.values() if isinstance(one, Dispatcher))
    if file is not None:
        last.enable_caching()
    kernel: Kernel = last
    return kernel


def _kernel(digest: str, function: FunctionType) -> Any:  # noqa: ANN401 - numba has no types
    # Numba names machine code by module, function, and how many the process had compiled:
    # kernels of two texts that two processes compiled would be taken for one another.
    function.__qualname__ = f"{function.__name__}_{digest}"
    made: Any = numba.njit(fastmath=True, error_model="numpy", nogil=True, forceinline=True)(
        function
    )
    # No option of numba says what is true of all these kernels: their arrays do not overlap.
    # Without it LLVM does not vectorise the reverse, which is then three times slower.
    made._compiler._customize_flags = _without_overlap  # noqa: SLF001
    return made


def _without_overlap(flags: Any) -> Any:  # noqa: ANN401 - numba generates their type
    flags.noalias = True
    return flags


def _digest(text: str) -> str:
    """Of a text and of how it is compiled."""
    return hashlib.sha256(_how_it_is_compiled() + text.encode()).hexdigest()[:32]


@lru_cache(maxsize=1)
def _how_it_is_compiled() -> bytes:
    modules = (__file__, inspect.getfile(view_module))
    return b"".join(Path(file).read_bytes() for file in modules)


def _kept(text: str, digest: str) -> Path | None:
    """Write the text where numba keeps the machine code beside it."""
    folder = cache_folder()
    # Numba would make its own folder as the umask says.
    if folder is None or not (_usable(folder) and _usable(folder / "__pycache__")):
        return None
    file = folder / f"kernel_{digest}.py"
    if not file.exists():
        new = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}.new")
        new.write_text(text)
        new.replace(file)
    return file


@lru_cache(maxsize=8)
def _usable(folder: Path) -> bool:
    """Whether the folder can be written, and by nobody else; says once why not."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.stat()
    except OSError as error:
        _LOGGER.warning("kernels are not kept: %s", error)
        return False
    shared = status.st_uid != os.getuid() or bool(status.st_mode & _OTHERS_WRITE)
    if shared:
        _LOGGER.warning(
            "kernels are not kept: others than you can write to %s; chmod it to 700 or set %s",
            folder,
            CACHE_VARIABLE,
        )
    return not shared and os.access(folder, os.W_OK)


def cache_folder() -> Path | None:
    """Where kernels are kept; None if nowhere."""
    named = os.environ.get(CACHE_VARIABLE)
    if named is not None:
        return Path(named) if named else None
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    return Path(home) / "posterion" / "kernels"
