"""The quick no to "are two atoms too close?" is never wrong."""

import numpy as np
import pytest

from posterion.structures.contacts import contacts_possible
from posterion.structures.neighbors import neighbor_pairs

DISTANCE = 0.3
N_BOXES = 120


@pytest.mark.filterwarnings("error")
def test_no_pair_that_the_list_has_is_denied() -> None:
    generator = np.random.default_rng(0)
    n_close = n_denied = 0
    for _ in range(N_BOXES):
        pbc = (
            bool(generator.integers(2)),
            bool(generator.integers(2)),
            bool(generator.integers(2)),
        )
        cell = generator.normal(size=(3, 3)) + 4.0 * np.eye(3)
        fractions = generator.uniform(-2.0, 3.0, (int(generator.integers(1, 120)), 3))
        positions = fractions @ cell
        pairs = neighbor_pairs(positions, cell, pbc, cutoff=DISTANCE)
        close = bool((pairs.centre != pairs.neighbor).any())
        possible = contacts_possible(positions, cell, pbc, distance=DISTANCE)
        assert possible or not close
        n_close += close
        n_denied += not possible
    assert n_close > N_BOXES // 5
    assert n_denied > N_BOXES // 5


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("far", [0.0, 1e6, 1e200])
def test_a_pair_of_a_molecule_is_found_wherever_it_is(far: float) -> None:
    lattice = np.stack(np.meshgrid(*[np.arange(0.0, 6.0)] * 3), axis=-1).reshape(-1, 3)
    positions = np.concatenate([lattice, lattice[17:18] + np.array([0.0, 0.29, 0.0])]) + far
    positions[0] -= 2.0 * far
    assert contacts_possible(positions, None, (False,) * 3, distance=DISTANCE)
    if far < 1e6:
        assert not contacts_possible(positions[:-1], None, (False,) * 3, distance=DISTANCE)


def test_a_crowd_is_left_to_the_list() -> None:
    assert contacts_possible(np.zeros((200, 3)), None, (False,) * 3, distance=DISTANCE)
    lattice = np.stack(np.meshgrid(*[np.arange(0.0, 8.0)] * 3), axis=-1).reshape(-1, 3)
    assert not contacts_possible(lattice, 8.0 * np.eye(3), (True,) * 3, distance=DISTANCE)
    assert contacts_possible(lattice, 7.2 * np.eye(3), (True,) * 3, distance=DISTANCE)
