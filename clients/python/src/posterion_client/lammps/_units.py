"""What LAMMPS's unit styles are in eV and Angstrom."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from posterion_client._errors import InvalidArgument


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitStyle:
    """A unit style whose length is the Angstrom.

    Attributes:
        energy: Its unit of energy, per eV.
        timestep_fs: Its unit of time, in fs.
        pressure: Its unit of pressure, in eV/Angstrom^3.
        kinetic: Mass times velocity squared in its units, in eV.
    """

    energy: float
    timestep_fs: float
    pressure: float
    kinetic: float


_EV_PER_KCAL_MOL: Final = 1.0 / 23.060549
"""As LAMMPS converts between its styles."""

STYLES: Final[Mapping[str, UnitStyle]] = {
    "metal": UnitStyle(
        energy=1.0,
        timestep_fs=1000.0,
        pressure=1.0 / 1.6021765e6,
        kinetic=1.0364269e-4,
    ),
    "real": UnitStyle(
        energy=1.0 / _EV_PER_KCAL_MOL,
        timestep_fs=1.0,
        pressure=_EV_PER_KCAL_MOL / 68568.415,
        kinetic=48.88821291 * 48.88821291 * _EV_PER_KCAL_MOL,
    ),
}


def style_named(name: str) -> UnitStyle:
    """The unit style of a running LAMMPS.

    Raises:
        InvalidArgument: If it is another one than metal and real.
    """
    if name not in STYLES:
        raise InvalidArgument(
            f"units must be metal or real, the script says {name}; lengths must be Angstrom"
        )
    return STYLES[name]
