"""The processes that share an MD code, with mpi4py or without."""

import ctypes
import sys
from pathlib import Path
from typing import Protocol, TypeVar

T = TypeVar("T")


class Ranks(Protocol):
    """What is used of an mpi4py communicator."""

    @property
    def rank(self) -> int:
        """Of this process."""

    @property
    def size(self) -> int:
        """How many processes there are."""

    def gather(self, sendobj: T, root: int = 0) -> "list[T] | None":
        """One object of every rank, on the root."""

    def bcast(self, obj: T, root: int = 0) -> T:
        """The root's object, on every rank."""

    def Abort(self, errorcode: int = 0) -> None:  # noqa: N802 - the name in mpi4py
        """End all ranks."""


class Alone:
    """A run of one process, without mpi4py."""

    rank = 0
    size = 1

    def gather(self, sendobj: T, root: int = 0) -> "list[T] | None":  # noqa: ARG002
        """One object."""
        return [sendobj]

    def bcast(self, obj: T, root: int = 0) -> T:  # noqa: ARG002
        """The same object."""
        return obj

    def Abort(self, errorcode: int = 0) -> None:  # noqa: N802
        """End the process."""
        sys.exit(errorcode)


def load_mpi() -> None:
    """Load the MPI library that wheels were built for, where pip has put it.

    Such wheels find ``libmpi.so.12`` only on the loader's path, but the wheel of mpich puts
    it into the folder ``lib`` of the environment.
    """
    library = Path(sys.prefix) / "lib" / "libmpi.so.12"
    if library.exists():
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)


def world() -> Ranks:
    """The ranks that `mpiexec` started, or this process alone where there is no mpi4py."""
    load_mpi()
    try:
        from mpi4py import MPI  # noqa: PLC0415
    except (ImportError, RuntimeError):  # the latter: there is no MPI library
        return Alone()
    found: Ranks = MPI.COMM_WORLD
    return found
