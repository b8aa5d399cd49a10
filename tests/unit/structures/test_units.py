"""Units are converted at the edges, and back to where they came from."""

from itertools import product

import pytest
from ase import units

from posterion.structures.units import ANGSTROM_PER, EV_PER, UnitSystem


@pytest.mark.parametrize(("length", "energy"), [*product(ANGSTROM_PER, EV_PER)])
def test_force_and_stress_follow_energy_and_length(length: str, energy: str) -> None:
    system = UnitSystem(length=length, energy=energy)  # type: ignore[arg-type]
    # One unit of energy per unit of length, spelled in eV and Angstrom, is 1 again.
    assert system.forces_factor * system.ev / system.angstrom == pytest.approx(1.0, rel=1e-15)
    assert system.stress_factor * system.ev / system.angstrom**3 == pytest.approx(1.0, rel=1e-15)
    assert system.energy_factor * system.ev == pytest.approx(1.0, rel=1e-15)
    assert system.forces == f"{energy}/{length}"
    assert system.stress == f"{energy}/{length}^3"


def test_own_units_are_left_alone() -> None:
    system = UnitSystem()
    assert (system.angstrom, system.energy_factor, system.forces_factor) == (1.0, 1.0, 1.0)
    assert system.stress_factor == 1.0


def test_factors_are_those_of_the_literature() -> None:
    # 0.0433641153 eV by today's constants; ASE's are those of CODATA 2014.
    assert EV_PER["kcal/mol"] == pytest.approx(0.0433641153, rel=1e-6)
    assert EV_PER["kJ/mol"] * 4.184 == pytest.approx(EV_PER["kcal/mol"], rel=1e-12)
    assert EV_PER["hartree"] == units.Hartree
    assert ANGSTROM_PER["bohr"] == units.Bohr
    assert ANGSTROM_PER["nm"] == 10.0
