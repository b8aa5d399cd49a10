"""A stretched bond is longer by what its frame says, and no other bond changes."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from benchmarks.reference_sets import BONDS, ETHANOL, one_bond_longer


def bond_lengths(atoms: Atoms, like: Atoms) -> dict[tuple[int, int], float]:
    """Lengths of the pairs that are bonds in the relaxed molecule: closer than 1.7 Angstrom."""
    resting = like.get_all_distances()
    distances = atoms.get_all_distances()
    pairs = np.argwhere((resting < 1.7) & (like.numbers[:, None] + like.numbers[None] > 2))
    return {(int(a), int(b)): float(distances[a, b]) for a, b in pairs if a < b}


@pytest.mark.parametrize("bond", BONDS)
def test_one_bond_is_longer_by_what_is_stated(bond: str) -> None:
    resting = molecule(ETHANOL)
    rng = np.random.default_rng(5)
    for seed in range(20):
        thermal = resting.copy()
        thermal.rattle(0.04, seed=seed)
        longer = one_bond_longer(thermal, bond, 0.3, rng)
        before, after = bond_lengths(thermal, resting), bond_lengths(longer, resting)
        ratios = {pair: after[pair] / before[pair] for pair in before}
        (changed,) = [pair for pair, ratio in ratios.items() if abs(ratio - 1.0) > 1e-9]
        assert ratios[changed] == pytest.approx(1.3)
        assert "".join(sorted(resting.symbols[atom] for atom in changed)) == bond


def test_a_bond_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="no bond of CO"):
        one_bond_longer(molecule("C6H6"), "CO", 0.3, np.random.default_rng(0))
    with pytest.raises(ValueError, match="part of a ring"):
        one_bond_longer(molecule("C6H6"), "CC", 0.3, np.random.default_rng(0))
