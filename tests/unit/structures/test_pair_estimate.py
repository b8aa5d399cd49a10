"""The number of pairs is known before the list would exhaust the memory."""

import numpy as np
import pytest

from posterion.structures.neighbors import estimate_pairs, neighbor_pairs

CUTOFF = 4.5
EDGE = 14.0
CUBE = EDGE * np.eye(3)


def atoms(n_atoms: int = 300) -> np.ndarray:
    positions: np.ndarray = np.random.default_rng(0).uniform(0.0, EDGE, (n_atoms, 3))
    return positions


def test_without_periodicity_the_estimate_is_exact() -> None:
    found = neighbor_pairs(atoms(), None, (False, False, False), cutoff=CUTOFF).n_pairs
    assert estimate_pairs(atoms(), None, (False, False, False), cutoff=CUTOFF) == found


@pytest.mark.parametrize("pbc", [(True, True, True), (True, True, False), (False, True, False)])
def test_with_periodicity_it_is_near_wherever_the_atoms_wander(
    pbc: tuple[bool, bool, bool],
) -> None:
    images = np.random.default_rng(1).integers(-9, 9, (300, 3)) * np.array(pbc)
    wandered = atoms() + images @ CUBE
    found = neighbor_pairs(wandered, CUBE, pbc, cutoff=CUTOFF).n_pairs
    # The mean density knows nothing of surfaces; a factor of 1.5 is the margin of its user.
    assert 1 / 1.5 < estimate_pairs(wandered, CUBE, pbc, cutoff=CUTOFF) / found < 1.5
