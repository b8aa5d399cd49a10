"""The connection with a driver, in arrays of numpy; the library MDI is imported on demand."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from posterion_client._errors import InvalidArgument
from posterion_client._mpi import load_mpi

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int32]

NODE: Final = "@DEFAULT"


class Link(Protocol):
    """How an engine talks to its driver."""

    def command(self) -> str:
        """The next command; blocks."""

    def integers(self, count: int) -> IntArray:
        """What the driver sends after a command, shape ``(count,)``."""

    def floats(self, count: int) -> FloatArray:
        """What the driver sends after a command, shape ``(count,)``."""

    def send_integers(self, values: Sequence[int]) -> None:
        """Answer a command."""

    def send_floats(self, values: FloatArray) -> None:
        """Answer a command, with the elements of an array in C order."""

    def send_node(self) -> None:
        """Answer where in its work the engine is."""

    def factor(self, unit: str, other: str) -> float:
        """How many of the other unit the first one is."""


class OpenedPlugin(Protocol):
    """An engine in the process of its driver."""

    value: int


class MdiLibrary(Protocol):
    """What is used of the module ``mdi``."""

    MDI_DOUBLE: int
    MDI_INT: int
    MDI_CHAR: int
    MDI_COMMAND_LENGTH: int

    def MDI_Init(self, options: str) -> None:  # noqa: N802
        """Begin."""

    def MDI_Set_plugin_state(self, state: object) -> None:  # noqa: N802
        """Begin as a plugin."""

    def MDI_Plugin_get_argc(self) -> int:  # noqa: N802
        """Number of words the driver gave a plugin."""

    def MDI_Plugin_get_arg(self, index: int) -> str:  # noqa: N802
        """One of them."""

    def MDI_MPI_get_world_comm(self) -> object:  # noqa: N802
        """Communicator of the engine's own ranks; None without mpi4py."""

    def MDI_Register_node(self, name: str) -> None:  # noqa: N802
        """Say that the engine has a node."""

    def MDI_Register_command(self, node: str, name: str) -> None:  # noqa: N802
        """Say that the engine knows a command there."""

    def MDI_Accept_communicator(self) -> int:  # noqa: N802
        """The driver."""

    def MDI_Open_plugin(  # noqa: N802
        self, name: str, options: str, ranks: object
    ) -> "OpenedPlugin":
        """Begin a plugin, as its driver."""

    def MDI_Close_plugin(self, comm: int) -> None:  # noqa: N802
        """End a plugin, as its driver."""

    def MDI_Send_command(self, name: str, comm: int) -> None:  # noqa: N802
        """Send a command, as a driver."""

    def MDI_Recv_command(self, comm: int) -> str:  # noqa: N802
        """The next command."""

    def MDI_Recv(self, count: int, kind: int, comm: int, buf: NDArray[np.generic]) -> None:  # noqa: N802
        """Receive an array."""

    def MDI_Send(self, values: object, count: int, kind: int, comm: int) -> None:  # noqa: N802
        """Send an array or a text."""

    def MDI_Conversion_factor(self, unit: str, other: str) -> float:  # noqa: N802
        """How many of the other unit the first one is."""

    def MDI_Set_execute_command_func(  # noqa: N802
        self, function: Callable[[str, int, object], int], obj: object
    ) -> None:
        """Who answers the commands to a plugin."""


class MdiLink:
    """A driver at the other end of the library.

    Args:
        library: Begun.
        comm: The driver.
    """

    def __init__(self, library: MdiLibrary, comm: int) -> None:
        self._library = library
        self._comm = comm

    def command(self) -> str:
        """The next command; see `Link`."""
        return self._library.MDI_Recv_command(self._comm)

    def integers(self, count: int) -> IntArray:
        """Receive; see `Link`."""
        found = np.empty(count, dtype=np.int32)
        self._library.MDI_Recv(count, self._library.MDI_INT, self._comm, buf=found)
        return found

    def floats(self, count: int) -> FloatArray:
        """Receive; see `Link`."""
        found = np.empty(count, dtype=np.float64)
        self._library.MDI_Recv(count, self._library.MDI_DOUBLE, self._comm, buf=found)
        return found

    def send_integers(self, values: Sequence[int]) -> None:
        """Answer; see `Link`."""
        self._library.MDI_Send(list(values), len(values), self._library.MDI_INT, self._comm)

    def send_floats(self, values: FloatArray) -> None:
        """Answer; see `Link`."""
        flat = np.ascontiguousarray(values, dtype=np.float64).reshape(-1)
        self._library.MDI_Send(flat, len(flat), self._library.MDI_DOUBLE, self._comm)

    def send_node(self) -> None:
        """Answer; see `Link`."""
        length = self._library.MDI_COMMAND_LENGTH
        self._library.MDI_Send(NODE.ljust(length, "\0"), length, self._library.MDI_CHAR, self._comm)

    def factor(self, unit: str, other: str) -> float:
        """Convert; see `Link`."""
        return self._library.MDI_Conversion_factor(unit, other)


def mdi_library() -> MdiLibrary:
    """The library; MPI before it, where both meet in one process.

    Raises:
        InvalidArgument: If the package is missing.
    """
    load_mpi()
    with contextlib.suppress(ImportError, RuntimeError):  # the latter: there is no MPI library
        from mpi4py import MPI  # noqa: F401, PLC0415
    try:
        import mdi  # noqa: PLC0415
    except ImportError as error:
        raise InvalidArgument("the package mdi is missing: pip install pymdi") from error
    found: MdiLibrary = mdi
    return found


def accepted(library: MdiLibrary, commands: Sequence[str]) -> MdiLink:
    """Declare what the engine knows, and wait for the driver.

    Args:
        library: Begun.
        commands: Names.

    Raises:
        InvalidArgument: If the engine was started on several ranks.
    """
    ranks = library.MDI_MPI_get_world_comm()
    size = getattr(ranks, "size", 1)
    if size > 1:
        raise InvalidArgument(f"the engine needs one rank, it was started on {size}")
    library.MDI_Register_node(NODE)
    for name in commands:
        library.MDI_Register_command(NODE, name)
    return MdiLink(library, library.MDI_Accept_communicator())
