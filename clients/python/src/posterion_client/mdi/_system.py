"""The atoms that an engine knows about, and their session with the service."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posterion_client._elements import NUMBERS
from posterion_client._errors import InvalidArgument, InvalidStructure
from posterion_client._service_arguments import ServiceSettings
from posterion_client.md import Evaluation, MDSession

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(slots=True, kw_only=True)
class System:
    """One set of atoms; the driver moves them.

    Attributes:
        settings: Of the session with the service.
        elements: Symbol of every atom type, of type 1 first; empty where types are unknown.
        isolated: Whether a cell means nothing.
        numbers: Atomic numbers, once known.
        positions: Shape ``(n_atoms, 3)``, Angstrom, once known.
        cell: Shape ``(3, 3)``, rows are the lattice vectors, Angstrom; a direction whose
            vector is zero is not periodic.
        displacement: Where the cell begins, Angstrom; without effect on what is answered.
    """

    settings: ServiceSettings
    elements: Sequence[str] = ()
    isolated: bool = False
    numbers: IntArray | None = None
    positions: FloatArray | None = None
    cell: FloatArray | None = None
    displacement: FloatArray | None = None
    _n_atoms: int | None = None
    _session: MDSession | None = None
    _began: tuple[bool, bool, bool] = (False, False, False)

    @property
    def n_atoms(self) -> int:
        """How many atoms there are.

        Raises:
            InvalidStructure: If the driver has not said so.
        """
        if self._n_atoms is None:
            raise InvalidStructure("the driver must send >NATOMS first")
        return self._n_atoms

    @n_atoms.setter
    def n_atoms(self, count: int) -> None:
        if count < 1:
            raise InvalidStructure(f"the driver sent {count} atoms")
        if self._n_atoms is not None and count != self._n_atoms:
            raise InvalidStructure(
                f"the engine began with {self._n_atoms} atoms, the driver now sends {count}; "
                "another system needs another engine"
            )
        self._n_atoms = count

    @property
    def n_requests(self) -> int:
        """Evaluations that the service was asked for."""
        return 0 if self._session is None else self._session.n_requests

    def set_numbers(self, numbers: ArrayLike) -> None:
        """Say which elements the atoms are; not to be changed later.

        Raises:
            InvalidStructure: If they change.
        """
        found = np.asarray(numbers, dtype=np.int64)
        if self.numbers is not None and not np.array_equal(found, self.numbers):
            raise InvalidStructure("the elements of the atoms cannot change")
        self.numbers = found

    def set_types(self, types: IntArray) -> None:
        """Say which types the atoms have.

        Raises:
            InvalidStructure: If a type has no element.
        """
        if (types < 1).any() or (types > len(self.elements)).any():
            raise InvalidStructure(
                f"the driver sent atom types from {types.min()} to {types.max()}, --elements names "
                f"types 1 to {len(self.elements)}"
            )
        self.set_numbers([NUMBERS[self.elements[kind - 1]] for kind in types])

    def set_electrons(self, *, charge: int | None = None, multiplicity: int | None = None) -> None:
        """Say how many electrons there are.

        Raises:
            InvalidStructure: If the service was already asked with another number.
        """
        new = ServiceSettings(**self.settings)
        new["charge"] = new["charge"] if charge is None else charge
        if multiplicity is not None:
            new["spin_multiplicity"] = multiplicity
        if self._session is not None and new != self.settings:
            raise InvalidStructure("charge and spin multiplicity cannot change")
        self.settings = new

    def evaluation(self) -> Evaluation:
        """Ask about the atoms as they are now; asking twice costs one request.

        Raises:
            InvalidStructure: If something is not known, or changed.
            PosterionError: If the service cannot answer.
        """
        if self.numbers is None or self.positions is None:
            missing = ">ELEMENTS or >TYPES" if self.numbers is None else ">COORDS"
            raise InvalidStructure(f"the driver must send {missing} first")
        pbc = self._periodic()
        if self._session is None:
            self._session = MDSession(self.numbers, pbc=pbc, **self.settings)
            self._began = pbc
        elif pbc != self._began:
            raise InvalidStructure(f"the engine began with the periodic directions {self._began}")
        return self._session.evaluate(self.positions, self.cell if any(pbc) else None)

    def close(self) -> None:
        """Leave the session."""
        if self._session is not None:
            self._session.close()

    def _periodic(self) -> tuple[bool, bool, bool]:
        if self.cell is None or self.isolated:
            return (False, False, False)
        first, second, third = (bool(vector.any()) for vector in self.cell)
        return (first, second, third)


def read_structure(system: System, path: Path) -> None:
    """Begin with the atoms of a file, in any format that ASE reads.

    Args:
        system: To be filled in.
        path: The file.

    Raises:
        InvalidArgument: If it cannot be read.
    """
    try:
        from ase.io import read  # noqa: PLC0415

        atoms = read(path)
        if isinstance(atoms, list):
            atoms = atoms[-1]
    except Exception as error:
        raise InvalidArgument(f"{path} cannot be read: {error}") from error
    system.n_atoms = len(atoms)
    system.set_numbers(atoms.numbers)
    system.positions = np.array(atoms.positions, dtype=np.float64)
    if any(atoms.pbc):
        system.cell = np.array(atoms.cell) * np.array(atoms.pbc)[:, None]
