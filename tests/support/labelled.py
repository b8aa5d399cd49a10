"""Frames of ethanol labelled by the predictive distribution of the random bank itself."""

from dataclasses import replace
from pathlib import Path

import ase.io
from ase import Atoms

from posterion.structures.ase_io import LabelledFrame, atoms_from_structure
from tests.support.banks import drawn_held_out, random_parameters, thermal_ethanol


def drawn_frames(n_frames: int, *, n_samples: int = 4, seed: int = 7) -> list[LabelledFrame]:
    """Frames that a calibrated bank of `publish_random_bank`'s parameters (seed 0) expects."""
    structures = thermal_ethanol(n_frames, seed=seed)
    drawn = drawn_held_out(random_parameters(n_samples, seed=0), structures, seed=seed)
    n_atoms = structures[0].n_atoms
    return [
        LabelledFrame(
            structure=structure,
            energy=float(drawn.energy_reference[place]),
            forces=drawn.force_reference[place * n_atoms : (place + 1) * n_atoms],
        )
        for place, structure in enumerate(structures)
    ]


def unlabelled(frame: LabelledFrame) -> Atoms:
    """The structure of a frame without its labels."""
    return atoms_from_structure(frame.structure)


def with_silicon(frame: LabelledFrame) -> LabelledFrame:
    """The same frame with an element that the bank of ethanol does not know."""
    numbers = frame.structure.atomic_numbers.copy()
    numbers[0] = 14
    return replace(frame, structure=replace(frame.structure, atomic_numbers=numbers))


def append_unlabelled(path: Path, frame: LabelledFrame) -> None:
    """Add a frame without labels to a file."""
    ase.io.write(path, unlabelled(frame), append=True)
