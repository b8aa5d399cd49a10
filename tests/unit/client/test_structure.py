"""A structure is checked before it is sent, and says which atom is wrong."""

import math
import pickle
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.data import chemical_symbols

from posterion_client import InvalidStructure, PosterionError, Structure
from posterion_client._elements import SYMBOLS
from tests.unit.client.examples import aluminium_slab, molecule, silicon

WATER: dict[str, Any] = {
    "numbers": [8, 1, 1],
    "positions": [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]],
}


def refused(changes: dict[str, Any]) -> InvalidStructure:
    with pytest.raises(InvalidStructure) as caught:
        Structure(**{**WATER, **changes})
    return caught.value


def test_symbols_are_those_of_the_periodic_table() -> None:
    assert list(SYMBOLS) == chemical_symbols[1:]


def test_symbols_and_numbers_describe_the_same() -> None:
    by_symbol = Structure(symbols=["O", "H", "H"], positions=WATER["positions"])
    assert by_symbol.same_as(Structure(**WATER))
    assert Structure(**WATER).symbols == ("O", "H", "H")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_coordinate_that_is_not_finite_names_its_atom(value: float) -> None:
    error = refused({"positions": [[0, 0, 0], [0.96, 0, 0], [0, value, 0]]})
    assert "atom 2" in str(error)
    assert error.faults[0].pointer == "/positions/2"
    assert error.code == "invalid-structure"


@pytest.mark.parametrize(
    ("changes", "pointer", "said"),
    [
        ({"numbers": [8, 1, 0]}, "/numbers/2", "atom 2 must be from 1 to 118, got 0"),
        ({"numbers": [8, 119, 1]}, "/numbers/1", "got 119"),
        ({"numbers": [8.0, 1.0, 1.0]}, "/numbers", "whole numbers"),
        ({"numbers": []}, "/numbers", "1 or more"),
        ({"numbers": [8, 1]}, "/positions", "shape (2, 3), got (3, 3)"),
        ({"numbers": None}, "/numbers", "either numbers or symbols"),
        ({"symbols": ["O", "H", "H"]}, "/numbers", "either numbers or symbols"),
        ({"numbers": None, "symbols": ["O", "Xx", "H"]}, "/symbols/1", "'Xx'"),
        ({"numbers": None, "symbols": "OHH"}, "/symbols", "must be a list"),
        ({"numbers": None, "symbols": []}, "/symbols", "at least one"),
        ({"positions": [[0, 0], [1, 1], [2, 2]]}, "/positions", "got (3, 2)"),
        ({"positions": [["a", 0, 0]] * 3}, "/positions", "array of numbers"),
        ({"pbc": True}, "/cell", "cell is needed"),
        ({"pbc": [True, False]}, "/pbc", "one or three"),
        ({"cell": [1.0, 2.0, 3.0]}, "/cell", "shape (3, 3)"),
        ({"cell": np.full((3, 3), math.nan)}, "/cell", "not finite"),
        ({"cell": np.diag([9.0, 0, 9.0]), "pbc": True}, "/cell/1", "direction 1"),
        ({"charge": 0.5}, "/charge", "whole number, got 0.5"),
        ({"charge": "one"}, "/charge", "whole number, got 'one'"),
        ({"spin_multiplicity": 0}, "/spin_multiplicity", "at least 1"),
    ],
)
def test_wrong_field_is_named(changes: dict[str, Any], pointer: str, said: str) -> None:
    error = refused(changes)
    assert error.faults[0].pointer == pointer
    assert said in error.detail
    assert error.status is None, "nothing was sent, so there is no HTTP status"


def test_arrays_are_copies_that_cannot_be_written() -> None:
    positions = np.array(WATER["positions"])
    structure = Structure(numbers=np.array([8, 1, 1]), positions=positions, cell=np.eye(3))
    positions[0, 0] = 7.0
    assert structure.positions[0, 0] == 0.0
    assert structure.cell is not None
    for array in (structure.numbers, structure.positions, structure.cell):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_structure_survives_pickling() -> None:
    crystal = Structure.from_ase(silicon())
    assert pickle.loads(pickle.dumps(crystal)).same_as(crystal)  # noqa: S301 - made here


@pytest.mark.parametrize(
    "changes",
    [
        {"positions": np.add(WATER["positions"], 1e-15)},
        {"numbers": [8, 1, 6]},
        {"cell": np.eye(3)},
        {"charge": 1},
        {"spin_multiplicity": 3},
    ],
)
def test_any_difference_is_a_difference(changes: dict[str, Any]) -> None:
    assert not Structure(**{**WATER, **changes}).same_as(Structure(**WATER))
    assert not Structure(**WATER).same_as(Structure(**{**WATER, **changes}))


def test_periodicity_is_part_of_the_configuration() -> None:
    slab = Structure(**WATER, cell=np.eye(3) * 9.0, pbc=[True, True, False])
    assert not slab.same_as(Structure(**WATER, cell=np.eye(3) * 9.0, pbc=True))
    assert slab.same_as(Structure(**WATER, cell=np.eye(3) * 9.0, pbc=[True, True, False]))


class TestFromAse:
    def test_molecule_loses_its_meaningless_cell(self) -> None:
        atoms = molecule("CH3CH2OH")
        atoms.center(vacuum=4.0)  # type: ignore[no-untyped-call] # ASE has no types here
        structure = Structure.from_ase(atoms)
        assert structure.cell is None
        assert structure.pbc == (False, False, False)
        np.testing.assert_array_equal(structure.numbers, atoms.numbers)
        np.testing.assert_array_equal(structure.positions, atoms.positions)

    def test_crystal_keeps_rows_as_vectors_and_positions_unwrapped(self) -> None:
        atoms = silicon() * (2, 1, 1)
        atoms.positions += 100.0
        structure = Structure.from_ase(atoms)
        assert structure.fully_periodic
        np.testing.assert_array_equal(structure.cell, atoms.cell.array)
        np.testing.assert_array_equal(structure.positions, atoms.positions)

    def test_slab_keeps_its_missing_vector(self) -> None:
        slab = aluminium_slab()
        structure = Structure.from_ase(slab)
        assert structure.pbc == (True, True, False)
        assert structure.cell is not None
        assert not structure.cell[2].any()

    @pytest.mark.parametrize(
        ("info", "charge", "multiplicity"),
        [
            ({}, 0, 1),
            ({"charge": -1, "spin": 2}, -1, 2),
            ({"charge": np.int64(1), "spin_multiplicity": 3, "spin": 5}, 1, 3),
            ({"charge": 1.0, "spin": np.float64(2.0)}, 1, 2),
        ],
    )
    def test_charge_and_spin_come_from_info(
        self, info: dict[str, Any], charge: int, multiplicity: int
    ) -> None:
        atoms = Atoms("H", [[0, 0, 0]])
        atoms.info.update(info)
        structure = Structure.from_ase(atoms)
        assert (structure.charge, structure.spin_multiplicity) == (charge, multiplicity)

    def test_dummy_atom_is_named(self) -> None:
        with pytest.raises(PosterionError, match="atom 1 must be from 1 to 118, got 0"):
            Structure.from_ase(Atoms("HX", [[0, 0, 0], [0, 0, 1]]))
