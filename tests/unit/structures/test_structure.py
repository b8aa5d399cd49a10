"""A structure is right, or refused with a pointer to what is wrong; and it stays as it is."""

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from posterion.errors import InvalidStructure
from posterion.structures.structure import MAXIMUM_COORDINATE, MINIMUM_DISTANCE, Structure
from tests.support.structures import TRICLINIC, slab, triclinic, water, wire

PERIODIC = (True, True, True)
PAIR: dict[str, Any] = {"atomic_numbers": [8, 1], "positions": [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]}
COPLANAR = [[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [3.0, 3.0, 0.0]]
FLAT = [[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [1.0, 1.0, 0.4]]

WRONG: dict[str, tuple[str, dict[str, Any]]] = {
    "no atoms": ("/numbers", {"atomic_numbers": [], "positions": np.zeros((0, 3))}),
    "numbers not a list": ("/numbers", {"atomic_numbers": 8}),
    "numbers not whole": ("/numbers", {"atomic_numbers": [8.0, 1.0]}),
    "numbers beyond int64": ("/numbers", {"atomic_numbers": [8, 2**70]}),
    "number zero": ("/numbers/1", {"atomic_numbers": [8, 0]}),
    "number negative": ("/numbers/0", {"atomic_numbers": [-8, 1]}),
    "number too large": ("/numbers/1", {"atomic_numbers": [8, 119]}),
    "one position missing": ("/positions", {"positions": [[0.0, 0.0, 0.0]]}),
    "positions in two dimensions": ("/positions", {"positions": [[0.0, 0.0], [1.0, 0.0]]}),
    "positions ragged": ("/positions", {"positions": [[0.0, 0.0, 0.0], [1.0]]}),
    "positions not numbers": ("/positions", {"positions": [["a", "b", "c"]] * 2}),
    "position NaN": ("/positions/1", {"positions": [[0.0] * 3, [0.0, np.nan, 1.0]]}),
    "position infinite": ("/positions/0", {"positions": [[np.inf, 0.0, 0.0], [1.0] * 3]}),
    "position far away": (
        "/positions/1",
        {"positions": [[0.0] * 3, [2.0 * MAXIMUM_COORDINATE, 0.0, 0.0]]},
    ),
    "atoms coincide": ("/positions/1", {"positions": [[1.0] * 3, [1.0] * 3]}),
    "periodic without cell": ("/cell", {"pbc": (False, True, False)}),
    "cell of two vectors": ("/cell", {"cell": np.eye(3)[:2], "pbc": PERIODIC}),
    "cell ragged": ("/cell", {"cell": [[1.0], [2.0, 3.0]], "pbc": PERIODIC}),
    "cell NaN": ("/cell", {"cell": np.full((3, 3), np.nan), "pbc": PERIODIC}),
    "cell row zero": ("/cell/2", {"cell": np.diag([3.0, 3.0, 0.0]), "pbc": PERIODIC}),
    "cell coplanar": ("/cell", {"cell": COPLANAR, "pbc": PERIODIC}),
    "cell flat": ("/cell", {"cell": FLAT, "pbc": PERIODIC}),
    "cell rows parallel in a slab": (
        "/cell",
        {"cell": [[3.0, 0.0, 0.0], [6.0, 0.0, 0.0], [0.0] * 3], "pbc": (True, True, False)},
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_every_fault_has_its_pointer(case: str) -> None:
    pointer, change = WRONG[case]
    with pytest.raises(InvalidStructure) as caught:
        Structure(**(PAIR | change))
    assert [fault.pointer for fault in caught.value.faults] == [pointer]
    assert caught.value.detail.startswith(f"{pointer}: expected")
    assert caught.value.code == "invalid-structure"


@pytest.mark.parametrize(("gap", "accepted"), [(0.999, False), (1.001, True)])
def test_minimum_distance_holds_through_the_boundary(gap: float, accepted: bool) -> None:
    cell = np.diag([5.0, 6.0, 7.0])
    below_the_top = 7.0 - gap * MINIMUM_DISTANCE
    arguments: dict[str, Any] = {
        "atomic_numbers": [1, 1],
        "positions": [[1.0, 1.0, 0.0], [1.0, 1.0, below_the_top]],
        "cell": cell,
    }
    Structure(**arguments)
    Structure(**arguments, pbc=(True, True, False))
    if accepted:
        Structure(**arguments, pbc=PERIODIC)
        return
    with pytest.raises(InvalidStructure, match=r"atoms 0 and 1 are 0\.3 Angstrom apart"):
        Structure(**arguments, pbc=PERIODIC)


def test_close_pair_is_found_among_many_atoms() -> None:
    positions = np.arange(300, dtype=np.float64).reshape(100, 3)
    positions[71] = positions[13] + [0.0, 0.2, 0.0]
    with pytest.raises(InvalidStructure, match=r"atoms 13 and 71 are 0\.2 Angstrom"):
        Structure(atomic_numbers=np.ones(100, dtype=int), positions=positions)


def test_fields_cannot_be_assigned() -> None:
    with pytest.raises(FrozenInstanceError):
        water().charge = 1  # type: ignore[misc]


@pytest.mark.parametrize("name", ["atomic_numbers", "positions", "cell"])
def test_arrays_are_read_only_copies(name: str) -> None:
    given = {
        "atomic_numbers": np.array([8]),
        "positions": np.zeros((1, 3)),
        "cell": TRICLINIC.copy(),
    }
    structure = Structure(**given, pbc=PERIODIC)  # type: ignore[arg-type]
    kept = getattr(structure, name).copy()
    given[name][...] = 3
    np.testing.assert_array_equal(getattr(structure, name), kept)
    with pytest.raises(ValueError, match="read-only"):
        getattr(structure, name)[0] = 1


def test_numbers_and_positions_have_one_type_each() -> None:
    structure = Structure(
        atomic_numbers=np.array([8, 1], dtype=np.uint8),
        positions=np.array(PAIR["positions"], dtype=np.float32),
    )
    assert structure.atomic_numbers.dtype == np.int64
    assert structure.positions.dtype == np.float64
    assert structure.positions.flags.c_contiguous


def test_volume_belongs_to_fully_periodic_structures() -> None:
    assert triclinic().volume == pytest.approx(3.1 * 3.4 * 3.8)
    assert triclinic().fully_periodic
    for structure in (slab(), wire(), triclinic((True, False, True)), water()):
        assert structure.volume is None
        assert not structure.fully_periodic


def test_left_handed_cell_has_a_positive_volume() -> None:
    structure = Structure(
        atomic_numbers=np.array([8]),
        positions=np.zeros((1, 3)),
        cell=np.diag([2.0, 3.0, -4.0]),
        pbc=PERIODIC,
    )
    assert structure.volume == pytest.approx(24.0)
