"""Simulations that fall apart are told from those that do not, and warnings are timed."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from scipy import stats

from benchmarks.explosion import CHANCE, Criteria, Plan, Warnings, criteria, follow
from posterion_client import ConnectionFailed, NonFiniteResult

TRUSTED = Warnings(flagged=False, failed=False)
FAILED = Warnings(flagged=True, failed=True)
LANGEVIN = Plan(ensemble="langevin", temperature_K=500.0, seed=1, n_steps=100)
NVE = replace(LANGEVIN, ensemble="nve")


class Springs(Calculator):
    """Every pair of atoms on a spring of its relaxed length; weak or negative ones break."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - as ASE declares it

    def __init__(self, relaxed: Atoms, stiffness: float) -> None:
        super().__init__()
        self._lengths = relaxed.get_all_distances()
        self._stiffness = stiffness

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        vectors = self.atoms.get_all_distances(vector=True)
        distances = np.linalg.norm(vectors, axis=-1)
        stretch = distances - self._lengths
        unit = vectors / np.where(distances > 0, distances, 1.0)[..., None]
        self.results = {
            "energy": 0.25 * self._stiffness * float((stretch**2).sum()),
            "forces": self._stiffness * (stretch[..., None] * unit).sum(axis=1),
        }


def ammonia(stiffness: float = 10.0) -> Atoms:
    atoms: Atoms = molecule("NH3")
    atoms.calc = Springs(atoms, stiffness)
    return atoms


def limits_of(atoms: Atoms) -> Criteria:
    return criteria(
        atoms,
        potential=float(atoms.get_potential_energy()),
        temperature_K=LANGEVIN.temperature_K,
    )


@pytest.mark.parametrize("plan", [LANGEVIN, NVE])
def test_a_harmonic_molecule_is_stable(plan: Plan) -> None:
    atoms = ammonia()
    course = follow(atoms, plan, limits_of(atoms), lambda: TRUSTED)
    assert course.cause is None
    assert course.last_step == plan.n_steps
    assert course.warned_before is None


def test_velocity_verlet_conserves_the_energy_and_the_drift_says_so() -> None:
    atoms = ammonia()
    course = follow(atoms, NVE, limits_of(atoms), lambda: TRUSTED)
    kinetic = 0.5 * 9 * units.kB * 2 * NVE.temperature_K
    assert course.totals[0] == pytest.approx(kinetic, rel=1e-9)
    # Verlet's error of the energy is (omega dt)^2 / 8 of it; omega of the springs is below 1/4 fs.
    assert course.excursion < 1e3 * kinetic / 4 * (0.25 * NVE.timestep_fs) ** 2
    slope = replace(course, totals=2.0 + 0.004 * np.arange(11, dtype=np.float64))
    assert slope.drift == pytest.approx(0.004 / (1e-3 * NVE.timestep_fs) / 4 * 1e3)


@pytest.mark.parametrize("plan", [LANGEVIN, NVE])
def test_repulsion_without_bound_is_an_explosion(plan: Plan) -> None:
    atoms = ammonia(stiffness=-10.0)
    course = follow(atoms, plan, limits_of(atoms), lambda: TRUSTED)
    assert course.cause is not None
    assert course.last_step < plan.n_steps
    assert course.warned_before is False


def test_each_criterion_is_found_by_name() -> None:
    relaxed = molecule("NH3")
    limits = criteria(relaxed, potential=-5.0, temperature_K=300.0)
    most = limits.most

    def cause(atoms: Atoms, potential: float = -5.0, kinetic: float = 0.1) -> str | None:
        return limits.broken(atoms, potential=potential, kinetic=kinetic)

    squeezed, stretched = relaxed.copy(), relaxed.copy()
    for atoms, length in ((squeezed, 0.7), (stretched, 2.3)):
        atoms.set_distance(0, 1, length, fix=0)
    assert cause(relaxed) is None
    assert cause(squeezed) == "collision"
    assert cause(stretched) == "broken-bond"
    assert cause(relaxed, kinetic=1.01 * most) == "kinetic-energy"
    assert cause(relaxed, kinetic=float("nan")) == "kinetic-energy"
    assert cause(relaxed, potential=-5.0 + 1.01 * most) == "potential-energy"
    assert cause(relaxed, potential=-5.0 - 1.01 * most) == "potential-energy"
    assert cause(relaxed, potential=-5.0 + 0.99 * most, kinetic=0.99 * most) is None


def test_atoms_that_are_not_bonded_may_be_far_apart() -> None:
    ethanol = molecule("CH3CH2OH")
    assert ethanol.get_all_distances().max() > 2.25
    limits = criteria(ethanol, potential=0.0, temperature_K=300.0)
    assert len(limits.bonds) == 8
    assert limits.broken(ethanol, potential=0.0, kinetic=0.0) is None


def test_bonds_longer_than_the_limit_are_broken_relative_to_their_length() -> None:
    dimer = Atoms("Si2", positions=[[0, 0, 0], [2.3, 0, 0]])
    limits = criteria(dimer, potential=0.0, temperature_K=300.0)
    assert limits.broken(dimer, potential=0.0, kinetic=0.0) is None
    dimer.set_distance(0, 1, 1.41 * 2.3)
    assert limits.broken(dimer, potential=0.0, kinetic=0.0) == "broken-bond"


def test_energy_limit_is_the_stated_quantile() -> None:
    most = criteria(molecule("NH3"), potential=0.0, temperature_K=400.0).most
    # Twice an energy over k_B T is chi-squared with 3 * 4 - 3 degrees of freedom.
    assert stats.chi2.sf(2 * most / (units.kB * 400.0), 9) == pytest.approx(CHANCE, rel=1e-6)


def test_a_warning_counts_if_it_comes_before_the_explosion() -> None:
    def course_with(warning_step: int) -> bool | None:
        atoms = ammonia(stiffness=-10.0)
        steps: Iterator[int] = iter(range(NVE.n_steps + 1))
        limits = limits_of(atoms)
        course = follow(
            atoms, NVE, limits, lambda: FAILED if next(steps) >= warning_step else TRUSTED
        )
        assert course.last_step == exploded_at
        return course.warned_before

    atoms = ammonia(stiffness=-10.0)
    exploded_at = follow(atoms, NVE, limits_of(atoms), lambda: TRUSTED).last_step
    assert course_with(exploded_at - 1) is True
    assert course_with(exploded_at) is False


def test_a_structure_without_an_answer_ends_the_run_and_a_lost_service_ends_the_benchmark() -> None:
    class Refusing(Springs):
        def __init__(self, relaxed: Atoms, cause: Exception) -> None:
            super().__init__(relaxed, 10.0)
            self._cause, self._left = cause, 6

        def calculate(
            self,
            atoms: Atoms | None = None,
            properties: Sequence[str] = ("energy",),
            system_changes: Sequence[str] = tuple(all_changes),
        ) -> None:
            self._left -= 1
            if self._left == 0:
                raise CalculationFailed("no answer") from self._cause
            super().calculate(atoms, properties, system_changes)

    atoms = ammonia()
    limits = limits_of(atoms)
    atoms.calc = Refusing(atoms, NonFiniteResult("not finite"))
    course = follow(atoms, NVE, limits, lambda: FAILED)
    assert (course.cause, course.last_step, course.warned_before) == ("no-answer", 5, True)
    atoms.calc = Refusing(atoms, ConnectionFailed("refused"))
    with pytest.raises(CalculationFailed):
        follow(atoms, NVE, limits, lambda: FAILED)
