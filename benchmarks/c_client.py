"""The client for C, called from Python: what a call adds is far below what it measures."""

import ctypes
from typing import Final

import numpy as np

from posterion_client import Structure
from posterion_client.md import Transport
from posterion_client.selftest._native import Build

TRANSPORTS: Final[dict[Transport, int]] = {"http": 1, "websocket": 2}


class _Options(ctypes.Structure):
    """posterion_options of posterion.h."""

    _fields_ = (
        *((name, ctypes.c_char_p) for name in ("model", "version", "digest", "authorization")),
        *((name, ctypes.c_int) for name in ("double_precision", "stress", "uncertainty")),
        *((name, ctypes.c_int) for name in ("n_samples", "transport", "charge", "multiplicity")),
        *((name, ctypes.c_double) for name in ("connect_timeout_s", "timeout_s", "budget_s")),
        *((name, ctypes.c_void_p) for name in ("notice", "context")),
    )


class CSession:
    """Asks about a structure that moves a little every time.

    Args:
        library: From `shared_library`.
        url: Of the service.
        structure: Fully periodic, or not at all.
        transport: How it asks.

    Raises:
        RuntimeError: If it cannot be opened.
    """

    def __init__(
        self, library: ctypes.CDLL, url: str, structure: Structure, transport: Transport
    ) -> None:
        self._library = library
        self._handle = ctypes.c_void_p()
        self._positions = np.array(structure.positions, dtype=np.float64, order="C")
        self._cell = None if structure.cell is None else np.array(structure.cell, dtype=np.float64)
        self._forces = np.empty_like(self._positions)
        self._result = (ctypes.c_double * 32)()
        options = _Options()
        library.posterion_options_init(ctypes.byref(options))
        options.stress, options.transport, options.budget_s = 0, TRANSPORTS[transport], 0.0
        numbers = np.array(structure.numbers, dtype=np.int32)
        pbc = np.array(structure.pbc, dtype=np.int32)
        self._checked(
            library.posterion_open(
                *(ctypes.byref(self._handle), url.encode(), len(numbers)),
                *(ctypes.c_void_p(numbers.ctypes.data), ctypes.c_void_p(pbc.ctypes.data)),
                ctypes.byref(options),
            )
        )
        cell = None if self._cell is None else ctypes.c_void_p(self._cell.ctypes.data)
        self._arguments = (
            *(self._handle, len(numbers), ctypes.c_void_p(self._positions.ctypes.data), cell),
            *(ctypes.c_void_p(self._forces.ctypes.data), None, ctypes.byref(self._result)),
        )

    def step(self) -> None:
        """Ask once.

        Raises:
            RuntimeError: If there is no answer.
        """
        self._positions[0, 0] += 1e-6
        self._checked(self._library.posterion_evaluate(*self._arguments))

    def close(self) -> None:
        """Hang up."""
        self._library.posterion_close(self._handle)

    def _checked(self, status: int) -> None:
        if status:
            raise RuntimeError(self._library.posterion_message(self._handle).decode())


def shared_library(build: Build) -> ctypes.CDLL:
    """The compiled client.

    Args:
        build: Of the client c; its folder must outlive the library.
    """
    library = ctypes.CDLL(str(build.made("libposterion.so")))
    library.posterion_message.restype = ctypes.c_char_p
    return library
