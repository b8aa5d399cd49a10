"""Ammonia at the level of theory of its frames: BP86-D3/def2-SVP as ORCA means it, from PySCF."""

from pathlib import Path
from typing import Final

import ase.io
import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.constraints import FixedPlane
from ase.optimize import BFGS
from pydantic import JsonValue

from posterion.labelling.reference import PyscfReference

DATA_FILE: Final = "ammonia_bp86_low.extxyz"
LEVEL: Final = PyscfReference(
    xc="B88,P86VWN-VWN5+PW_MOD", basis="def2-SVP", dispersion="d3bj:bp86", grid_level=4
)
N_CHECKED: Final = 3
REFERENCE_FORCE: Final = 1e-3
"""Of the relaxed pyramid and the relaxed plane, eV/Angstrom."""


def reference_barrier() -> dict[str, JsonValue]:
    """Optimise pyramid and planar ammonia with PySCF, with and without dispersion."""
    found: dict[str, JsonValue] = {"level_of_theory": LEVEL.level_of_theory}
    for name, level in (
        ("barrier_ev", LEVEL),
        ("barrier_without_dispersion_ev", LEVEL.model_copy(update={"dispersion": None})),
    ):
        pyramid, planar = molecule("NH3"), _planar()
        for atoms in (pyramid, planar):
            atoms.calc = level.calculator()
            BFGS(atoms, logfile=None).run(fmax=REFERENCE_FORCE, steps=100)
        found[name] = float(planar.get_potential_energy() - pyramid.get_potential_energy())
    return found


def agreement(file: Path) -> dict[str, JsonValue]:
    """How far PySCF's labels are from those of the data: forces, and energy differences."""
    every = list(ase.io.iread(file))
    frames = every[:: len(every) // N_CHECKED][:N_CHECKED]
    offsets, errors = [], []
    for frame in frames:
        atoms = frame.copy()
        atoms.calc = LEVEL.calculator()
        errors.append(atoms.get_forces() - frame.get_forces())
        offsets.append(atoms.get_potential_energy() - frame.get_potential_energy())
    return {
        "n_frames": len(frames),
        "force_rms_ev_per_angstrom": float(np.sqrt(np.mean(np.square(errors)))),
        "energy_difference_max_ev": float(np.ptp(offsets)),
    }


def _planar() -> Atoms:
    angles = np.deg2rad([0.0, 120.0, 240.0])
    ring = np.column_stack([np.cos(angles), np.sin(angles), np.zeros(3)])
    planar = Atoms("NH3", positions=np.vstack([np.zeros((1, 3)), ring]))
    planar.set_constraint([FixedPlane(index, (0, 0, 1)) for index in range(4)])
    return planar
