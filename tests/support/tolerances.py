"""How closely two numbers must agree, named for the reason they may differ at all."""

from typing import Final

ROUNDING: Final = 1e-9
"""The same sum in float64, taken in another order: eV, eV/Angstrom, eV/Angstrom^3."""

LARGE_SHIFT: Final = 1e-7
"""Energies of order 1e7 eV in float64: their spacing is 2e-9 eV, some sums of it allowed."""

FINITE_DIFFERENCE: Final = 1e-6
"""A derivative against a central difference of step ``DISPLACEMENT``, relative to its scale."""

DISPLACEMENT: Final = 1e-4
"""Step of central differences, Angstrom or strain: truncation about 1e-8, rounding 1e-11."""

CONTINUITY: Final = 1e-6
"""Change over ``CROSSING``: an envelope of degree p vanishes as (1 - x)^3, its slope as its
square, so both stay far below; a jump of an energy or force does not."""

CROSSING: Final = 1e-4
"""How far inside and outside the cutoff an atom is put, Angstrom."""

SINGLE_PRECISION: Final = 3e-5
"""float32 against float64, relative to the largest value: some hundred roundings of 1e-7."""

PAIR_VECTOR: Final = 1e-6
"""The same vector from two neighbour lists that wrap atoms differently, Angstrom."""
