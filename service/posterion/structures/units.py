"""Which units we use inside, and how to convert at the edges.

Inside: eV, Angstrom, eV/Angstrom, eV/Angstrom^3. Factors come from ASE's CODATA 2014 set,
the one ASE's own calculators use.
"""

from dataclasses import dataclass
from typing import Literal

from ase import units as ase_units

LengthUnit = Literal["angstrom", "nm", "bohr"]
EnergyUnit = Literal["eV", "hartree", "kJ/mol", "kcal/mol"]

ANGSTROM_PER: dict[LengthUnit, float] = {
    "angstrom": 1.0,
    "nm": 10.0,
    "bohr": float(ase_units.Bohr),
}
EV_PER: dict[EnergyUnit, float] = {
    "eV": 1.0,
    "hartree": float(ase_units.Hartree),
    "kJ/mol": float(ase_units.kJ / ase_units.mol),
    "kcal/mol": float(ase_units.kcal / ase_units.mol),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSystem:
    """A pair of units in which a caller speaks.

    Attributes:
        length: Unit of positions and cells.
        energy: Unit of energies; forces are energy/length, stress energy/length^3.
    """

    length: LengthUnit = "angstrom"
    energy: EnergyUnit = "eV"

    @property
    def angstrom(self) -> float:
        """Angstrom per unit of length: multiply incoming positions by it."""
        return ANGSTROM_PER[self.length]

    @property
    def ev(self) -> float:
        """Electronvolt per unit of energy: divide outgoing energies by it."""
        return EV_PER[self.energy]

    @property
    def energy_factor(self) -> float:
        """Multiply an energy in eV by it to get the caller's unit."""
        return 1.0 / self.ev

    @property
    def forces_factor(self) -> float:
        """Multiply a force in eV/Angstrom by it to get the caller's unit."""
        return self.angstrom / self.ev

    @property
    def stress_factor(self) -> float:
        """Multiply a stress in eV/Angstrom^3 by it to get the caller's unit."""
        return self.angstrom**3 / self.ev

    @property
    def forces(self) -> str:
        """Name of the unit of force."""
        return f"{self.energy}/{self.length}"

    @property
    def stress(self) -> str:
        """Name of the unit of stress."""
        return f"{self.energy}/{self.length}^3"
