"""When a simulation has exploded: criteria, and whether the service had warned before.

The criteria are those of Tan et al. (npj Comput. Mater. 9, 225, 2023), stated so that they mean
the same for every molecule and temperature: see ``docs/science/simulations.md``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculatorError
from ase.constraints import FixCom
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet
from ase.neighborlist import natural_cutoffs, neighbor_list
from numpy.typing import NDArray
from scipy import stats

from posterion_client import StructureError

FloatArray = NDArray[np.float64]

COLLISION: Final = 0.75
"""Angstrom: no two atoms of a molecule come so near."""

BROKEN_BOND: Final = 2.25
BOND_STRETCH: Final = 1.4
"""A bond is broken at 2.25 Angstrom, or 1.4 times its relaxed length where that is more."""

BOND_SLACK: Final = 1.25
"""Atoms are bonded where they are nearer than so many times the sum of their covalent radii."""

CHANCE: Final = 1e-9
"""Chance that a harmonic molecule at the temperature has more energy of one kind than allowed."""

Cause = Literal["collision", "broken-bond", "kinetic-energy", "potential-energy", "no-answer"]
Ensemble = Literal["langevin", "nve"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Criteria:
    """What a stable run does not do.

    Attributes:
        bonds: Pairs of bonded atoms, ``(n_bonds, 2)``.
        longest: Length at which each of them is broken, ``(n_bonds,)``, Angstrom.
        potential: Energy of the relaxed start, eV.
        most: Kinetic energy, and distance of the potential energy from that of the start, that
            are not exceeded, eV.
    """

    bonds: NDArray[np.int64]
    longest: FloatArray
    potential: float
    most: float

    def broken(self, atoms: Atoms, *, potential: float, kinetic: float) -> Cause | None:
        """The first criterion that a configuration does not meet.

        Args:
            atoms: The configuration.
            potential: Its energy, eV.
            kinetic: Its kinetic energy, eV.

        Returns:
            What is wrong with it, or None.
        """
        # Written so that a number that is none breaks them.
        if not kinetic <= self.most:
            return "kinetic-energy"
        if not abs(potential - self.potential) <= self.most:
            return "potential-energy"
        distances = _distances(atoms)
        if not distances[np.triu_indices(len(atoms), k=1)].min() > COLLISION:
            return "collision"
        if (distances[tuple(self.bonds.T)] >= self.longest).any():
            return "broken-bond"
        return None


def criteria(relaxed: Atoms, *, potential: float, temperature_K: float) -> Criteria:  # noqa: N803 - the unit
    """Criteria for runs at a temperature that start from a relaxed structure.

    The energy of ``f = 3 n_atoms - 3`` quadratic degrees of freedom is k_B T times a number of
    the gamma distribution with shape f/2; ``most`` is its quantile at 1 - ``CHANCE``.

    Args:
        relaxed: The start, two atoms or more.
        potential: Its energy, eV.
        temperature_K: Temperature of the run.
    """
    first, second = neighbor_list(
        "ij", relaxed, natural_cutoffs(relaxed, mult=BOND_SLACK), self_interaction=False
    )
    bonds = np.unique(np.column_stack([first, second])[first < second], axis=0)
    lengths = _distances(relaxed)[tuple(bonds.T)]
    quantile = stats.gamma.isf(CHANCE, 0.5 * degrees_of_freedom(relaxed))
    return Criteria(
        bonds=bonds,
        longest=np.maximum(BROKEN_BOND, BOND_STRETCH * lengths),
        potential=potential,
        most=float(quantile) * units.kB * temperature_K,
    )


def degrees_of_freedom(atoms: Atoms) -> int:
    """Those of the momenta with the centre of mass at rest."""
    return 3 * len(atoms) - 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run.

    Attributes:
        ensemble: Langevin dynamics, or velocity Verlet at constant energy.
        temperature_K: Temperature; at constant energy, roughly that after equipartition.
        seed: Of velocities and noise.
        n_steps: Steps.
        timestep_fs: Length of one.
        friction_per_fs: Of the Langevin dynamics.
    """

    ensemble: Ensemble
    temperature_K: float  # noqa: N815 - the unit, as the vocabulary spells it
    seed: int
    n_steps: int
    timestep_fs: float = 0.5
    friction_per_fs: float = 0.01


class Warnings(NamedTuple):
    """Severities of the flags of one answer."""

    flagged: bool
    failed: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Course:
    """What became of a run.

    Attributes:
        plan: The run.
        cause: Why it was ended; None if it was stable to its end.
        totals: Potential and kinetic energy together at each answered step, eV.
        warnings: Flags of each answered step.
        n_atoms: Atoms of the structure.
    """

    plan: Plan
    cause: Cause | None
    totals: FloatArray
    warnings: tuple[Warnings, ...]
    n_atoms: int

    @property
    def last_step(self) -> int:
        """Step of the explosion, or the last one."""
        return len(self.warnings) if self.cause == "no-answer" else len(self.warnings) - 1

    @property
    def first_flagged(self) -> int | None:
        """First step with a flag."""
        return _first(warning.flagged for warning in self.warnings)

    @property
    def first_failed(self) -> int | None:
        """First step with a flag of severity ``failed``."""
        return _first(warning.failed for warning in self.warnings)

    @property
    def warned_before(self) -> bool | None:
        """Whether a ``failed`` flag came before the explosion; None without one."""
        if self.cause is None:
            return None
        return self.first_failed is not None and self.first_failed < self.last_step

    @property
    def drift(self) -> float:
        """Slope of the total energy, meV per atom and ps, by least squares."""
        if len(self.totals) < 2:
            return 0.0
        time_ps = 1e-3 * self.plan.timestep_fs * np.arange(len(self.totals))
        return float(1e3 * np.polyfit(time_ps, self.totals, 1)[0] / self.n_atoms)

    @property
    def excursion(self) -> float:
        """Largest distance of the total energy from its start, meV per atom."""
        return float(1e3 * np.abs(self.totals - self.totals[0]).max() / self.n_atoms)


def follow(relaxed: Atoms, plan: Plan, limits: Criteria, read: Callable[[], Warnings]) -> Course:
    """Run until the end, or until a criterion is broken.

    Args:
        relaxed: The start, with a calculator; it is moved.
        plan: The run.
        limits: What a stable run does not do.
        read: Says which flags the calculator's last answer carried.

    Returns:
        What became of it.

    Raises:
        CalculatorError: If there is no answer for a reason other than the structure.
    """
    dynamics = _dynamics(relaxed, plan)
    totals: list[float] = []
    warnings: list[Warnings] = []
    cause: Cause | None = None
    try:
        for _ in dynamics.irun(plan.n_steps):
            potential = float(relaxed.get_potential_energy())
            kinetic = float(relaxed.get_kinetic_energy())
            totals.append(potential + kinetic)
            warnings.append(read())
            cause = limits.broken(relaxed, potential=potential, kinetic=kinetic)
            if cause is not None:
                break
    except CalculatorError as error:
        if not isinstance(error.__cause__, StructureError):
            raise
        cause = "no-answer"
    return Course(
        plan=plan,
        cause=cause,
        totals=np.array(totals),
        warnings=tuple(warnings),
        n_atoms=len(relaxed),
    )


def _dynamics(atoms: Atoms, plan: Plan) -> MolecularDynamics:
    """Dynamics from random momenta with twice the kinetic energy of the temperature.

    The start is relaxed: half of that energy goes into the vibrations.
    """
    rng = np.random.default_rng(plan.seed)
    atoms.set_constraint(FixCom())
    widths = np.sqrt(atoms.get_masses())[:, None]
    atoms.set_momenta(widths * rng.standard_normal((len(atoms), 3)))
    wanted = degrees_of_freedom(atoms) * units.kB * plan.temperature_K
    atoms.set_momenta(atoms.get_momenta() * np.sqrt(wanted / atoms.get_kinetic_energy()))
    timestep = plan.timestep_fs * units.fs
    if plan.ensemble == "nve":
        return VelocityVerlet(atoms, timestep)
    return Langevin(
        atoms,
        timestep,
        temperature_K=plan.temperature_K,
        friction=plan.friction_per_fs / units.fs,
        fixcm=False,
        rng=rng,
    )


def _distances(atoms: Atoms) -> FloatArray:
    """Distances between all atoms, of nearest images where periodic, Angstrom."""
    distances: FloatArray = atoms.get_all_distances(mic=bool(atoms.pbc.any()))
    return distances


def _first(happened: Iterable[bool]) -> int | None:
    return next((step for step, true in enumerate(happened) if true), None)
