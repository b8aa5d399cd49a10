"""What LAMMPS is told and what it prints, whichever way its forces come."""

import re

import numpy as np

TRICLINIC = """
units {units}
boundary p p p
atom_style atomic
atom_modify map array
box tilt large
region box prism 0 6.8 0 5.8 0 5.2 1.1 0.7 -0.6 units box
create_box 3 box
mass 1 12.011
mass 2 1.008
mass 3 15.999
create_atoms 3 single 4.36 2.58 2.60
create_atoms 1 single 3.19 1.78 2.60
create_atoms 2 single 4.33 3.17 3.40
create_atoms 1 single 1.94 2.65 2.60
create_atoms 2 single 1.04 2.02 2.60
create_atoms 2 single 1.92 3.29 3.49
create_atoms 2 single 1.92 3.29 1.71
create_atoms 2 single 3.20 1.14 3.49
create_atoms 2 single 3.20 1.14 1.71
pair_style zero 2.0 nocoeff
pair_coeff * *
velocity all create 300.0 4711 loop geom
"""
"""Ethanol in a triclinic cell, at 300 K; wants ``units``."""

_ROW = re.compile(r"^ +(\d+)((?: +[-+.\deE]+)+) *$")


def rows(output: str) -> np.ndarray:
    """The numbers that thermo printed."""
    found = (_ROW.match(line) for line in output.splitlines())
    return np.array([[float(match[1]), *map(float, match[2].split())] for match in found if match])
