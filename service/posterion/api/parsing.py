"""How a predict document becomes structures, each valid or with its own error."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from ase.data import atomic_numbers as ase_atomic_numbers
from numpy.typing import NDArray

from posterion.api.arrays import (
    WrongTypeError,
    check_leaves,
    declared_rows,
    float_rows,
    integers,
    refuse_types,
    wrong_shape,
    wrong_type,
)
from posterion.api.errors import MAX_FAULTS
from posterion.api.schemas import Output, PredictRequest, StructureDocument
from posterion.api.settings import ApiSettings
from posterion.api.validation import validated
from posterion.errors import (
    Fault,
    InvalidRequest,
    InvalidStructure,
    StructureError,
    StructureTooLarge,
)
from posterion.structures.evaluation import EvaluationOptions, Priority
from posterion.structures.structure import Structure
from posterion.structures.units import UnitSystem

_STRING: Final = frozenset({str})
_ATOMIC_NUMBERS: Final[Mapping[str, int]] = {
    symbol: number for symbol, number in ase_atomic_numbers.items() if number > 0
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictTerms:
    """What a predict request says beside its structures.

    Attributes:
        outputs: Result fields to answer.
        units: Of the request and of its reply.
        options: How the structures are evaluated.
        priority: Who waits.
    """

    outputs: tuple[Output, ...]
    units: UnitSystem
    options: EvaluationOptions
    priority: Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictWork:
    """One predict request, ready to be evaluated.

    Attributes:
        terms: What it says beside its structures.
        deadline_ms: Milliseconds after arrival when the answer is worthless, if ever.
        ids: Identifier of each structure.
        sizes: Positions that each structure has, valid or not.
        structures: Each structure in eV and Angstrom, or what is wrong with it.
    """

    terms: PredictTerms
    deadline_ms: float | None
    ids: tuple[str, ...]
    sizes: tuple[int, ...]
    structures: tuple[Structure | StructureError, ...]


def parse_predict(document: object, settings: ApiSettings) -> PredictWork:
    """Check a document and read its structures.

    Args:
        document: What the codec decoded.
        settings: Limits on structures and atoms.

    Returns:
        The work. Structures that are wrong in shape or physics carry their own error.

    Raises:
        InvalidRequest: If a field is unknown, missing or of the wrong type.
        TooLarge: If there are too many structures.
    """
    return read_predict(validated(PredictRequest, document, settings), settings)


def read_predict(request: PredictRequest, settings: ApiSettings) -> PredictWork:
    """Read the structures of a checked request.

    Args:
        request: The request.
        settings: Limit on atoms.

    Returns:
        The work. Structures that are wrong in shape or physics carry their own error.

    Raises:
        InvalidRequest: If fields do not go together, or an array is of the wrong type.
    """
    terms = terms_of(request)
    structures: list[Structure | StructureError] = []
    faults: list[Fault] = []
    for index, entry in enumerate(request.structures):
        try:
            structures.append(read_structure(entry, terms.units.angstrom, settings))
        except StructureError as error:
            structures.append(error)
        except WrongTypeError as error:
            faults.append(_within(f"/structures/{index}", error.fault))
            if len(faults) == MAX_FAULTS:
                break
    if faults:
        raise refuse_types(faults)
    ids = tuple(
        str(index) if entry.id is None else entry.id
        for index, entry in enumerate(request.structures)
    )
    return PredictWork(
        terms=terms,
        deadline_ms=request.deadline_ms,
        ids=ids,
        sizes=tuple(declared_rows(entry.positions) for entry in request.structures),
        structures=tuple(structures),
    )


def terms_of(request: PredictRequest) -> PredictTerms:
    """What a checked request says beside its structures.

    Args:
        request: The request.

    Raises:
        InvalidRequest: If fields do not go together.
    """
    _check_combinations(request)
    return PredictTerms(
        outputs=tuple(request.outputs),
        units=request.units.system,
        options=request.options,
        priority=request.priority,
    )


def _check_combinations(request: PredictRequest) -> None:
    faults = []
    if len(set(request.outputs)) != len(request.outputs):
        faults.append(Fault(pointer="/outputs", detail="expected each output once"))
    if "uncertainty" not in request.outputs and request.uncertainty.samples != "none":
        faults.append(
            Fault(
                pointer="/uncertainty/samples",
                detail="expected none, or uncertainty among the outputs",
            )
        )
    faults += _gradient_faults(request)
    for index, entry in enumerate(request.structures):
        if (entry.numbers is None) == (entry.symbols is None):
            faults.append(
                Fault(pointer=f"/structures/{index}", detail="expected either numbers or symbols")
            )
    if faults:
        raise InvalidRequest(
            "fields do not go together; see errors", faults=tuple(faults[:MAX_FAULTS])
        )


def _gradient_faults(request: PredictRequest) -> list[Fault]:
    if "uncertainty_gradient" in request.outputs:
        detail = "expected a number of samples for a gradient, or all"
        adaptive = request.n_samples == "adaptive"
        return [Fault(pointer="/n_samples", detail=detail)] if adaptive else []
    detail = "expected uncertainty_gradient among the outputs"
    said = "gradient_of" in request.uncertainty.model_fields_set
    return [Fault(pointer="/uncertainty/gradient_of", detail=detail)] if said else []


def _within(prefix: str, fault: Fault) -> Fault:
    return Fault(pointer=prefix + fault.pointer, detail=fault.detail)


def read_structure(entry: StructureDocument, angstrom: float, settings: ApiSettings) -> Structure:
    """Read one structure.

    Args:
        entry: Its document.
        angstrom: Length of the caller's unit.
        settings: Limit on atoms.

    Returns:
        The structure.

    Raises:
        WrongTypeError: If a value has a type that its field cannot have.
        StructureError: If it is wrong in shape or physics.
    """
    _check_atoms(entry, settings)
    # Types are checked in every field before a wrong shape in one is reported: whether the
    # request is valid must not depend on the order of reading.
    numbers = _attempt(_read_numbers, entry)
    positions = _attempt(_read_positions, entry)
    cell = _attempt(_read_cell, entry)
    for outcome in (numbers, positions, cell):
        if isinstance(outcome, InvalidStructure):
            raise outcome
    assert isinstance(numbers, np.ndarray)
    assert isinstance(positions, np.ndarray)
    assert not isinstance(cell, InvalidStructure)
    # An overflow becomes infinity, which the structure refuses.
    with np.errstate(over="ignore"):
        positions = positions * angstrom
        cell = None if cell is None else cell * angstrom
    return _build(entry, numbers, positions, cell)


Outcome = TypeVar("Outcome")


def _attempt(
    read: Callable[[StructureDocument], Outcome], entry: StructureDocument
) -> Outcome | InvalidStructure:
    try:
        return read(entry)
    except InvalidStructure as error:
        return error


def _check_atoms(entry: StructureDocument, settings: ApiSettings) -> None:
    n_atoms = max(declared_rows(value) for value in (entry.numbers, entry.symbols, entry.positions))
    if n_atoms > settings.max_atoms:
        raise too_many_atoms(n_atoms, settings)


def too_many_atoms(n_atoms: int, settings: ApiSettings) -> StructureTooLarge:
    """The error of a structure with more atoms than the limit."""
    return StructureTooLarge(f"expected at most {settings.max_atoms} atoms, got {n_atoms}")


def _read_numbers(entry: StructureDocument) -> NDArray[np.int64]:
    if entry.symbols is None:
        return integers(entry.numbers, "/numbers")
    if not isinstance(entry.symbols, list):
        raise wrong_type("/symbols", "a list of strings", entry.symbols)
    check_leaves(entry.symbols, "/symbols", _STRING, "a string")
    for index, symbol in enumerate(entry.symbols):
        if not isinstance(symbol, str):
            raise wrong_shape("/symbols", "a flat list of strings")
        if symbol not in _ATOMIC_NUMBERS:
            raise wrong_shape(f"/symbols/{index}", "the symbol of a chemical element")
    return np.array([_ATOMIC_NUMBERS[symbol] for symbol in entry.symbols], dtype=np.int64)


def _read_positions(entry: StructureDocument) -> NDArray[np.float64]:
    return float_rows(entry.positions, "/positions")


def _read_cell(entry: StructureDocument) -> NDArray[np.float64] | None:
    return None if entry.cell is None else float_rows(entry.cell, "/cell")


def _build(
    entry: StructureDocument,
    numbers: NDArray[np.int64],
    positions: NDArray[np.float64],
    cell: NDArray[np.float64] | None,
) -> Structure:
    first, second, third = entry.pbc
    try:
        return Structure(
            atomic_numbers=numbers,
            positions=positions,
            cell=cell,
            pbc=(first, second, third),
            charge=entry.charge,
            spin_multiplicity=entry.spin_multiplicity,
        )
    except InvalidStructure as error:
        raise (error if entry.symbols is None else _about_symbols(error)) from None


def _about_symbols(error: InvalidStructure) -> InvalidStructure:
    """The same error for a caller who sent symbols and not numbers."""
    faults = tuple(
        Fault(pointer=_as_symbols(fault.pointer), detail=fault.detail) for fault in error.faults
    )
    return InvalidStructure(_as_symbols(error.detail), faults=faults)


def _as_symbols(text: str) -> str:
    return "/symbols" + text.removeprefix("/numbers") if text.startswith("/numbers") else text
