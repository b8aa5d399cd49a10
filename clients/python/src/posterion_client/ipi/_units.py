"""i-PI's own constants: what its inputs mean by electronvolt and angstrom.

With them a position arrives as it was written in the input. The unit of force is the quotient
of the other two: forces stay the gradient of the energy to the last digit, which i-PI's own
``ev/ang`` misses by 1e-7.
"""

from typing import Final

HARTREE_PER_EV: Final = 0.036749326
BOHR_PER_ANGSTROM: Final = 1.8897261
FORCE: Final = HARTREE_PER_EV / BOHR_PER_ANGSTROM
"""Hartree/bohr per eV/Angstrom."""
