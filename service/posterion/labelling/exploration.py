"""Which geometries does a system visit? Decorrelated frames of Langevin dynamics.

Several short trajectories instead of one long one: frames of different trajectories are
independent, and one that falls apart costs only the frames it has not yielded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixCom
from ase.md.langevin import Langevin
from ase.neighborlist import natural_cutoffs, neighbor_list
from ase.optimize import BFGS
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from posterion.labelling.failures import ExplorationFailed
from posterion.labelling.reference import CALCULATION_ERRORS, Reference

BOND_STRETCH: Final = 1.6
"""Atoms farther apart than this many times the sum of their covalent radii do not bond."""

RELAXED_FORCE: Final = 0.05
"""Largest force after relaxation, eV/Angstrom."""

RELAXATION_STEPS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """How geometries are visited.

    Attributes:
        n_frames: How many are kept.
        n_trajectories: From how many independent trajectories.
        temperature_K: Of the thermostat.
        spacing_fs: Time between kept frames; closer than 50 fs they are correlated.
        equilibration_fs: Time before the first kept frame of a trajectory; the default is
            five times the friction's 50 fs.
        timestep_fs: Of the integrator.
        friction_per_fs: Of the thermostat.
        seed: All randomness.
    """

    n_frames: int
    n_trajectories: int
    temperature_K: float  # noqa: N815 - the unit, as the vocabulary spells it
    spacing_fs: float = 50.0
    equilibration_fs: float = 250.0
    timestep_fs: float = 0.5
    friction_per_fs: float = 0.02
    seed: int = 0


def explore(start: Atoms, reference: Reference, plan: Exploration) -> Iterator[Atoms]:
    """Relax a structure, then run trajectories and keep frames of them.

    A trajectory whose atoms part into more fragments than the start has, or whose
    calculation fails, is given up there, and another one yields the rest of its frames.

    Args:
        start: Elements, positions and cell to start from.
        reference: Cheap level of theory that drives the dynamics.
        plan: Temperature, numbers, times, seed.

    Yields:
        Frames with that level's energy and forces; ``info`` says temperature, trajectory,
        time, seed and level of theory.

    Raises:
        CalculatorUnavailable: If the program behind the reference is not installed.
        ExplorationFailed: If the start cannot be computed, or if as many trajectories were
            given up as were asked for.
    """
    relaxed = _relaxed(start, reference)
    n_trajectories = min(plan.n_trajectories, plan.n_frames)
    left = [len(part) for part in np.array_split(np.arange(plan.n_frames), n_trajectories)]
    trajectory, given_up = 0, 0
    while left:
        try:
            for frame in _trajectory(relaxed, reference, plan, trajectory, left[0]):
                left[0] -= 1
                yield frame
            left.pop(0)
        except (ExplorationFailed, *CALCULATION_ERRORS) as error:
            given_up += 1
            if given_up > n_trajectories:
                raise ExplorationFailed(
                    f"{given_up} trajectories at {plan.temperature_K:g} K were given up, the "
                    f"last one because: {error}"
                ) from error
        trajectory += 1


def n_fragments(atoms: Atoms) -> int:
    """How many pieces the atoms form, by covalent radii (periodic images included)."""
    first, second = neighbor_list("ij", atoms, natural_cutoffs(atoms, mult=BOND_STRETCH))
    bonds = coo_array((np.ones(len(first)), (first, second)), shape=(len(atoms), len(atoms)))
    return int(connected_components(bonds, directed=False)[0])


def _relaxed(start: Atoms, reference: Reference) -> Atoms:
    atoms = Atoms(numbers=start.numbers, positions=start.positions, cell=start.cell, pbc=start.pbc)
    atoms.calc = reference.calculator()
    try:
        BFGS(atoms, logfile=None).run(fmax=RELAXED_FORCE, steps=RELAXATION_STEPS)
    except CALCULATION_ERRORS as error:
        raise ExplorationFailed(f"the start cannot be computed: {error}") from error
    atoms.calc = None
    return atoms


def _trajectory(
    start: Atoms, reference: Reference, plan: Exploration, number: int, n_frames: int
) -> Iterator[Atoms]:
    atoms = start.copy()
    atoms.calc = reference.calculator()
    pieces = n_fragments(start)
    dynamics = _dynamics(atoms, plan, np.random.default_rng([plan.seed, number]))
    dynamics.run(round(plan.equilibration_fs / plan.timestep_fs))
    for kept in range(n_frames):
        dynamics.run(round(plan.spacing_fs / plan.timestep_fs) if kept else 0)
        time_fs = plan.equilibration_fs + kept * plan.spacing_fs
        if n_fragments(atoms) > pieces:
            raise ExplorationFailed(f"fell apart before {time_fs:g} fs")
        info = {
            "temperature_K": plan.temperature_K,
            "trajectory": number,
            "time_fs": time_fs,
            "seed": plan.seed,
            "level_of_theory": reference.level_of_theory,
        }
        yield labelled(
            atoms, atoms.get_potential_energy(), atoms.get_forces(apply_constraint=False), info
        )


def _dynamics(atoms: Atoms, plan: Exploration, rng: np.random.Generator) -> Langevin:
    """Langevin dynamics from momenta at twice the temperature.

    The start is relaxed: half of the kinetic energy goes into the vibrations. The centre of
    mass is held by a constraint, not by the integrator, whose own way of doing so samples a
    slightly different ensemble.
    """
    atoms.set_constraint(FixCom())
    width = np.sqrt(2.0 * units.kB * plan.temperature_K * atoms.get_masses())
    atoms.set_momenta(width[:, None] * rng.standard_normal((len(atoms), 3)))
    return Langevin(
        atoms,
        plan.timestep_fs * units.fs,
        temperature_K=plan.temperature_K,
        friction=plan.friction_per_fs / units.fs,
        fixcm=False,
        rng=rng,
    )


def labelled(atoms: Atoms, energy: float, forces: Any, info: dict[str, Any]) -> Atoms:  # noqa: ANN401
    """A copy without history that carries an energy (eV) and forces (eV/Angstrom).

    Args:
        atoms: Elements, positions, cell.
        energy: Label, eV.
        forces: Label, ``(n_atoms, 3)``, eV/Angstrom.
        info: What the frame says about itself.

    Returns:
        The frame.
    """
    frame = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    frame.info.update(info)
    frame.calc = SinglePointCalculator(frame, energy=float(energy), forces=np.array(forces))
    return frame
