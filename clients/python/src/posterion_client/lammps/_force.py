"""The callback of ``fix external``: whole structure in, forces of the own atoms out.

LAMMPS hands each rank its own atoms in any order. Rank 0 gathers them by their tags, asks the
service once, and every rank takes the rows of its atoms from the broadcast answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posterion_client._elements import NUMBERS
from posterion_client._errors import InvalidArgument, InvalidStructure, PosterionError
from posterion_client._mpi import Ranks
from posterion_client._service_arguments import ServiceSettings
from posterion_client.lammps._units import UnitStyle
from posterion_client.md import Evaluation, MDSession

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_VIRIAL_ORDER: Final = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))

VECTOR: Final = ("energy_epistemic", "force_max", "force_rms", "flag_level")
"""Entries of the fix's vector, from ``f_ID[1]``, in LAMMPS's units; the last one is 0 without a
flag, 1 for a candidate, 2 for a failed one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Box:
    """LAMMPS's simulation box.

    Attributes:
        cell: Shape ``(3, 3)``, rows are the lattice vectors, Angstrom.
        pbc: Periodic directions.
    """

    cell: FloatArray
    pbc: tuple[bool, bool, bool]


class StructureForces:
    """Answers rank 0's questions about the whole structure; the other ranks do not need it."""

    def __init__(self, elements: Sequence[str], settings: ServiceSettings) -> None:
        """Keep the elements; the session is opened by the first question.

        Args:
            elements: Symbol of each atom type, in LAMMPS's order.
            settings: How the service is asked.

        Raises:
            InvalidArgument: If a symbol is unknown.
        """
        unknown = [symbol for symbol in elements if symbol not in NUMBERS]
        if unknown or not elements:
            raise InvalidArgument(f"elements must be symbols, one per atom type, got {elements}")
        self._numbers = np.array([0, *(NUMBERS[symbol] for symbol in elements)])
        self._settings = settings
        self._session: MDSession | None = None
        self._pbc: tuple[bool, bool, bool] | None = None

    @property
    def digest(self) -> str | None:
        """The sample set that answers; None before the first answer."""
        return self._session.digest if self._session else self._settings["digest"]

    def evaluate(self, types: IntArray, positions: FloatArray, box: Box) -> Evaluation:
        """Ask about the structure.

        Args:
            types: Atom types in the order of the tags, shape ``(n_atoms,)``.
            positions: In the same order, shape ``(n_atoms, 3)``, Angstrom.
            box: The simulation box.

        Raises:
            InvalidStructure: If the atoms are not those of the first question.
            PosterionError: If the service cannot answer.
        """
        if types.max() >= len(self._numbers) or types.min() < 1:
            raise InvalidArgument(
                f"elements names {len(self._numbers) - 1} atom types, the script has {types.max()}"
            )
        numbers = self._numbers[types]
        session = self._session
        if session is None or self._pbc != box.pbc:
            session = self._opened(numbers, box.pbc)
        if not np.array_equal(session.numbers, numbers):
            raise InvalidStructure(
                f"the run began with {len(session.numbers)} atoms, now it has {len(numbers)} or "
                "other elements; a service's session keeps its atoms"
            )
        return session.evaluate(positions, box.cell if any(box.pbc) else None)

    def close(self) -> None:
        """Leave the session."""
        if self._session is not None:
            self._session.close()

    def _opened(self, numbers: IntArray, pbc: tuple[bool, bool, bool]) -> MDSession:
        given = self._settings.copy()
        given["digest"] = self.digest
        self.close()
        self._pbc = pbc
        self._session = MDSession(numbers, pbc=pbc, **given)
        return self._session


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """What every rank is told, in LAMMPS's units.

    Attributes:
        energy: Of the structure.
        forces: In the order of the tags, shape ``(n_atoms, 3)``.
        virial: xx yy zz xy xz yz, an energy; None where only some directions are periodic.
        vector: See `VECTOR`.
        force_epistemic: Of each atom, in the order of the tags, shape ``(n_atoms,)``.
    """

    energy: float
    forces: FloatArray
    virial: tuple[float, ...] | None
    vector: tuple[float, ...]
    force_epistemic: FloatArray


def virial_of(found: Evaluation, positions: FloatArray, box: Box) -> FloatArray | None:
    """The virial in eV, positive under pressure, shape ``(3, 3)``.

    Args:
        found: What the service says.
        positions: Shape ``(n_atoms, 3)``, Angstrom.
        box: The simulation box.

    Returns:
        None in a box that is periodic in some directions only.
    """
    if found.stress is not None:
        return -abs(float(np.linalg.det(box.cell))) * found.stress
    if any(box.pbc):
        return None
    # In free space the forces say it: they neither push nor turn the whole.
    return positions.T @ found.forces


def answer_of(found: Evaluation, positions: FloatArray, box: Box, units: UnitStyle) -> Answer:
    """Bring an evaluation into the units of LAMMPS.

    Args:
        found: In eV and Angstrom.
        positions: Shape ``(n_atoms, 3)``, Angstrom.
        box: The simulation box.
        units: Of LAMMPS.
    """
    assert found.uncertainty is not None
    tensor, virial = virial_of(found, positions, box), None
    if tensor is not None:
        symmetric = 0.5 * units.energy * (tensor + tensor.T)
        virial = tuple(float(symmetric[row, column]) for row, column in _VIRIAL_ORDER)
    known = found.uncertainty
    spread = (known.energy_epistemic, known.force_max, known.force_rms)
    return Answer(
        energy=found.energy * units.energy,
        forces=found.forces * units.energy,
        virial=virial,
        vector=(*(value * units.energy for value in spread), float(found.level)),
        force_epistemic=known.force_epistemic * units.energy,
    )


def asked_together(
    own: tuple[IntArray, IntArray, FloatArray],
    box: Box,
    *,
    comm: Ranks,
    forces: StructureForces,
    units: UnitStyle,
) -> Answer:
    """Gather the atoms of all ranks, ask once, and tell every rank.

    Args:
        own: Tags, types and positions of this rank's atoms.
        box: The simulation box.
        comm: The ranks.
        forces: Answers on rank 0.
        units: Of LAMMPS.

    Raises:
        PosterionError: If the service cannot answer, on every rank alike.
    """
    parts = comm.gather(own)
    told: Answer | PosterionError | None = None
    if parts is not None:
        try:
            types, positions = _in_order(parts)
            told = answer_of(forces.evaluate(types, positions, box), positions, box, units)
        except PosterionError as error:
            told = error
        except BaseException as error:  # noqa: BLE001 - else the other ranks would wait for ever
            told = PosterionError(f"{type(error).__name__}: {error}")
    told = comm.bcast(told)
    if isinstance(told, PosterionError):
        raise told
    assert told is not None
    return told


def _in_order(
    parts: Sequence[tuple[IntArray, IntArray, FloatArray]],
) -> tuple[IntArray, FloatArray]:
    tags = np.concatenate([part[0] for part in parts])
    if not np.array_equal(np.sort(tags), np.arange(1, len(tags) + 1)):
        raise InvalidStructure(
            f"atom IDs must be 1 to {len(tags)} without a gap; use reset_atoms id after deletions"
        )
    types = np.empty(len(tags), dtype=np.int64)
    positions = np.empty((len(tags), 3))
    types[tags - 1] = np.concatenate([part[1] for part in parts])
    positions[tags - 1] = np.concatenate([part[2] for part in parts])
    return types, positions
