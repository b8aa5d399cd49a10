"""A digest names frames whatever the file they come from."""

from dataclasses import replace

import numpy as np

from posterion.structures.frame_digest import geometry_digest
from tests.support.structures import water, zoo


def test_geometry_ignores_the_last_digits_only() -> None:
    structure = water()
    for nudge, same in ((1e-8, True), (1e-4, False)):
        positions = np.round(structure.positions, 6) + nudge
        original = replace(structure, positions=np.round(structure.positions, 6))
        moved = replace(structure, positions=positions)
        assert (geometry_digest(moved) == geometry_digest(original)) is same


def test_geometry_notices_elements_cell_and_periodicity() -> None:
    structure = water()
    others = [
        replace(structure, atomic_numbers=np.array([8, 1, 2])),
        replace(structure, cell=9.0 * np.eye(3), pbc=(True, True, True)),
        replace(structure, cell=8.0 * np.eye(3), pbc=(True, True, True)),
        replace(structure, cell=8.0 * np.eye(3), pbc=(True, True, False)),
    ]
    assert len({geometry_digest(one) for one in [structure, *others]}) == 5
    assert len({geometry_digest(one) for one in zoo().values()}) == len(zoo())
