"""The four structures of the demo: ethanol as it should be, and as it should not."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

STRETCHED_ANGSTROM: Final = 1.6

_SYMBOLS: Final = "C2OH6"
_METHYL_CARBON: Final = 0
_METHYL_HYDROGEN: Final = 7
_OXYGEN: Final = 2

_AT_REST: Final = (
    (0.8927, -0.4903, 0.0),
    (-0.2928, 0.4594, 0.0),
    (-1.4817, -0.3142, 0.0),
    (-2.2331, 0.3046, 0.0),
    (-0.2337, 1.1285, 0.8961),
    (-0.2337, 1.1285, -0.8961),
    (1.8498, 0.0685, 0.0),
    (0.8663, -1.1425, 0.8962),
    (0.8663, -1.1425, -0.8962),
)
"""The anti conformer, relaxed with a network trained on PBE/def2-SVP."""

_AT_300_K: Final = (
    (0.8667, -0.3651, 0.5361),
    (-0.2422, 0.3427, -0.3213),
    (-1.5112, -0.2987, -0.1901),
    (-2.1386, 0.2804, -0.7076),
    (-0.3569, 1.3951, -0.0515),
    (0.0015, 0.3237, -1.3577),
    (1.7799, -0.2148, 0.0037),
    (0.8878, 0.0150, 1.5667),
    (0.7129, -1.4784, 0.5218),
)
"""After 150 fs of Langevin dynamics at 300 K, 0.285 eV above rest; (3N - 6) kT / 2 = 0.271 eV."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """A structure the demo asks about.

    Attributes:
        key: Name in the JSON file.
        title: Name in the table and the plot.
        atoms: The structure, Angstrom.
    """

    key: str
    title: str
    atoms: Atoms


def thermal_ethanol() -> Atoms:
    """Ethanol as it is found at 300 K."""
    return _ethanol(np.array(_AT_300_K))


def subjects() -> tuple[Subject, ...]:
    """All four, in the order in which they are asked about."""
    rest = np.array(_AT_REST)
    bond = rest[_METHYL_HYDROGEN] - rest[_METHYL_CARBON]
    stretched = rest.copy()
    stretched[_METHYL_HYDROGEN] = rest[_METHYL_CARBON] + STRETCHED_ANGSTROM * (
        bond / np.linalg.norm(bond)
    )
    thiol = _ethanol(rest)
    thiol.symbols[_OXYGEN] = "S"
    return (
        Subject(key="rest", title="at rest", atoms=_ethanol(rest)),
        Subject(key="thermal", title="at 300 K", atoms=thermal_ethanol()),
        Subject(
            key="stretched",
            title=f"C–H at {STRETCHED_ANGSTROM} Å",
            atoms=_ethanol(stretched),
        ),
        Subject(key="unknown_element", title="S for O", atoms=thiol),
    )


def _ethanol(positions: NDArray[np.float64]) -> Atoms:
    return Atoms(_SYMBOLS, positions=positions)
