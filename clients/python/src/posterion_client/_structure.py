"""What a caller may ask about: one configuration of atoms, checked before it is sent."""

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posterion_client._elements import NUMBERS, SYMBOLS
from posterion_client._errors import InvalidArgument, InvalidStructure
from posterion_client._problem import Fault, Problem

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Structure:
    """One configuration of atoms; immutable.

    Attributes:
        numbers: Atomic numbers, shape ``(n_atoms,)``.
        positions: Shape ``(n_atoms, 3)``, Angstrom, float64.
        cell: Shape ``(3, 3)``, rows are the lattice vectors, Angstrom; None only without
            any periodic direction.
        pbc: Which directions are periodic.
        charge: Total charge, elementary charges.
        spin_multiplicity: 2S + 1.
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    cell: NDArray[np.float64] | None
    pbc: tuple[bool, bool, bool]
    charge: int
    spin_multiplicity: int

    def __init__(
        self,
        *,
        positions: ArrayLike,
        numbers: ArrayLike | None = None,
        symbols: Iterable[str] | None = None,
        cell: ArrayLike | None = None,
        pbc: bool | Sequence[bool] = False,
        charge: int = 0,
        spin_multiplicity: int = 1,
    ) -> None:
        """Check every field and keep read-only copies of the arrays.

        Args:
            positions: Shape ``(n_atoms, 3)``, Angstrom.
            numbers: Atomic numbers, shape ``(n_atoms,)``; or give ``symbols``.
            symbols: Element symbols, one per atom; or give ``numbers``.
            cell: Shape ``(3, 3)``, rows are the lattice vectors, Angstrom.
            pbc: Periodic directions; one value stands for all three.
            charge: Total charge, elementary charges.
            spin_multiplicity: 2S + 1.

        Raises:
            InvalidStructure: If a field is wrong; the message names the first atom concerned.
        """
        checked = _checked_numbers(numbers, symbols)
        periodic = _checked_pbc(pbc)
        set_field = object.__setattr__
        set_field(self, "numbers", checked)
        set_field(self, "positions", _checked_positions(positions, n_atoms=len(checked)))
        set_field(self, "cell", _checked_cell(cell, periodic))
        set_field(self, "pbc", periodic)
        set_field(self, "charge", _checked_integer("charge", charge))
        set_field(self, "spin_multiplicity", _checked_multiplicity(spin_multiplicity))

    @classmethod
    def from_ase(cls, atoms: "Atoms") -> "Structure":
        """Read an ASE ``Atoms`` object; positions are taken as they are, never wrapped.

        The charge is ``atoms.info["charge"]`` and the multiplicity 2S + 1 is
        ``atoms.info["spin_multiplicity"]`` or ``atoms.info["spin"]``; 0 and 1 without them.
        The cell is left out where no direction is periodic.
        """
        info: dict[str, Any] = atoms.info
        pbc = [bool(periodic) for periodic in atoms.pbc]
        return cls(
            numbers=atoms.numbers,
            positions=atoms.positions,
            cell=np.asarray(atoms.cell) if any(pbc) else None,
            pbc=pbc,
            charge=info.get("charge", 0),
            spin_multiplicity=info.get("spin_multiplicity", info.get("spin", 1)),
        )

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.numbers)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Element symbols, one per atom."""
        return tuple(SYMBOLS[number - 1] for number in self.numbers)

    @property
    def fully_periodic(self) -> bool:
        """Whether all three directions are periodic."""
        return all(self.pbc)

    def same_as(self, other: "Structure") -> bool:
        """Whether both are the same configuration, number for number."""
        same_cell = (
            self.cell is other.cell
            if self.cell is None or other.cell is None
            else np.array_equal(self.cell, other.cell)
        )
        return (
            same_cell
            and self.pbc == other.pbc
            and (self.charge, self.spin_multiplicity) == (other.charge, other.spin_multiplicity)
            and np.array_equal(self.numbers, other.numbers)
            and np.array_equal(self.positions, other.positions)
        )


def as_structure(value: object) -> Structure:
    """Take a `Structure` as it is and an ASE ``Atoms`` object by reading it.

    Raises:
        InvalidArgument: If the value is neither.
        InvalidStructure: If the atoms do not make a valid structure.
    """
    if isinstance(value, Structure):
        return value
    if looks_like_atoms(value):
        return Structure.from_ase(value)
    raise InvalidArgument(
        f"a structure must be a posterion_client.Structure or ase.Atoms, got {type(value).__name__}"
    )


def looks_like_atoms(value: object) -> TypeGuard["Atoms"]:
    """Whether the value has what we read from ASE ``Atoms``; ASE need not be installed."""
    return all(hasattr(value, name) for name in ("numbers", "positions", "cell", "pbc", "info"))


def _fail(pointer: str, detail: str) -> InvalidStructure:
    fault = Fault(pointer=pointer, detail=detail)
    return InvalidStructure(detail, problem=Problem(code="invalid-structure", faults=(fault,)))


def _checked_numbers(numbers: ArrayLike | None, symbols: Iterable[str] | None) -> NDArray[np.int64]:
    if (numbers is None) == (symbols is None):
        raise _fail("/numbers", "give either numbers or symbols, not both and not neither")
    if symbols is not None:
        return _read_only(np.array(_numbers_of(symbols), dtype=np.int64))
    array = np.asarray(numbers)
    if array.ndim != 1 or array.size == 0:
        raise _fail("/numbers", f"numbers must be a list of 1 or more, got shape {array.shape}")
    if array.dtype.kind not in "iu":
        raise _fail("/numbers", f"numbers must be whole numbers, got {array.dtype}")
    outside = np.flatnonzero((array < 1) | (array > len(SYMBOLS)))
    if outside.size:
        atom = int(outside[0])
        detail = f"the number of atom {atom} must be from 1 to {len(SYMBOLS)}, got {array[atom]}"
        raise _fail(f"/numbers/{atom}", detail)
    return _read_only(array.astype(np.int64))


def _numbers_of(symbols: Iterable[str]) -> list[int]:
    if isinstance(symbols, str):
        raise _fail("/symbols", f"symbols must be a list such as ['O', 'H'], got {symbols!r}")
    numbers = []
    for atom, symbol in enumerate(symbols):
        if symbol not in NUMBERS:
            raise _fail(f"/symbols/{atom}", f"the symbol of atom {atom} is unknown: {symbol!r}")
        numbers.append(NUMBERS[symbol])
    if not numbers:
        raise _fail("/symbols", "symbols must name at least one atom")
    return numbers


def _floats(field: str, value: ArrayLike) -> NDArray[np.float64]:
    try:
        array = np.array(value, dtype=np.float64, order="C")
    except (TypeError, ValueError) as error:
        raise _fail(f"/{field}", f"{field} must be an array of numbers: {error}") from error
    return _read_only(array)


def _checked_positions(positions: ArrayLike, *, n_atoms: int) -> NDArray[np.float64]:
    array = _floats("positions", positions)
    if array.shape != (n_atoms, 3):
        detail = f"positions must have shape ({n_atoms}, 3), got {array.shape}"
        raise _fail("/positions", detail)
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if bad.size:
        atom = int(bad[0])
        detail = f"the position of atom {atom} is not finite: {array[atom].tolist()}"
        raise _fail(f"/positions/{atom}", f"{detail} ({bad.size} of {n_atoms} atoms affected)")
    return array


def _checked_pbc(pbc: object) -> tuple[bool, bool, bool]:
    values = np.asarray(pbc)
    if values.dtype != np.bool_ or values.shape not in ((), (3,)):
        raise _fail("/pbc", f"pbc must be one or three true or false, got {pbc!r}")
    first, second, third = np.broadcast_to(values, (3,)).tolist()
    return first, second, third


def _checked_cell(
    cell: ArrayLike | None, pbc: tuple[bool, bool, bool]
) -> NDArray[np.float64] | None:
    if cell is None:
        if any(pbc):
            raise _fail("/cell", f"a cell is needed because pbc is {list(pbc)}")
        return None
    array = _floats("cell", cell)
    if array.shape != (3, 3):
        raise _fail("/cell", f"cell must have shape (3, 3), rows = vectors, got {array.shape}")
    if not np.isfinite(array).all():
        raise _fail("/cell", f"the cell is not finite: {array.tolist()}")
    for axis in range(3):
        if pbc[axis] and not array[axis].any():
            detail = f"direction {axis} is periodic but its lattice vector is zero"
            raise _fail(f"/cell/{axis}", detail)
    return array


def _checked_integer(field: str, value: object) -> int:
    whole = value
    if isinstance(value, float | np.floating) and float(value).is_integer():
        whole = int(value)  # extended XYZ files often hold 1.0 for a charge of 1
    try:
        return operator.index(whole)  # type: ignore[arg-type] # refused just below
    except TypeError as error:
        raise _fail(f"/{field}", f"{field} must be a whole number, got {value!r}") from error


def _checked_multiplicity(value: object) -> int:
    multiplicity = _checked_integer("spin_multiplicity", value)
    if multiplicity < 1:
        detail = f"spin_multiplicity is 2S + 1 and at least 1, got {multiplicity}"
        raise _fail("/spin_multiplicity", detail)
    return multiplicity


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array
