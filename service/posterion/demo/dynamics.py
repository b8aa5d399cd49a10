"""Molecular dynamics of ethanol at constant energy, with forces that come over HTTP."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculatorError
from ase.md.verlet import VelocityVerlet
from numpy.typing import NDArray

from posterion.demo.failure import DemoFailed
from posterion_client.ase import PosterionCalculator

FloatArray = NDArray[np.float64]

N_STEPS: Final = 100
TIMESTEP_FS: Final = 0.5
TEMPERATURE_K: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The molecule after some step.

    Attributes:
        potential: Energy of the service, eV.
        kinetic: Kinetic energy, eV.
        energy_epistemic: Standard deviation of the energy between samples, eV.
        force_max: Largest force on an atom, eV/Angstrom.
        force_epistemic_max: Largest standard deviation of an atom's force, eV/Angstrom.
        flags: Codes of the flags.
        call_ms: Time of the step, nearly all of it the request, milliseconds.
    """

    potential: float
    kinetic: float
    energy_epistemic: float
    force_max: float
    force_epistemic_max: float
    flags: tuple[str, ...]
    call_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """A run at constant energy.

    Attributes:
        moments: The start and every step after it.
        n_atoms: Atoms of the molecule.
    """

    moments: tuple[Moment, ...]
    n_atoms: int

    @property
    def time_fs(self) -> FloatArray:
        """Time of each moment, shape ``(n_steps + 1,)``, fs."""
        return TIMESTEP_FS * np.arange(len(self.moments), dtype=np.float64)

    @property
    def total(self) -> FloatArray:
        """Potential and kinetic energy together, shape ``(n_steps + 1,)``, eV."""
        return np.array([each.potential + each.kinetic for each in self.moments])

    @property
    def drift_mev_per_atom(self) -> float:
        """Largest distance of the total energy from its start, meV per atom."""
        return float(1e3 * np.abs(self.total - self.total[0]).max() / self.n_atoms)

    @property
    def call_ms(self) -> float:
        """Median time of a step, the first call left out, milliseconds."""
        return float(np.median([each.call_ms for each in self.moments[1:]]))

    @property
    def n_flagged(self) -> int:
        """Moments with at least one flag."""
        return sum(bool(each.flags) for each in self.moments)


def simulate(url: str, atoms: Atoms, *, seed: int, report: Callable[[], None]) -> Trajectory:
    """Run velocity Verlet from the given positions and random velocities.

    Args:
        url: Address of the service.
        atoms: Where it starts; not changed.
        seed: Of the velocities.
        report: Called after every step.

    Raises:
        DemoFailed: If a step gets no answer.
    """
    atoms = atoms.copy()  # type: ignore[no-untyped-call] # ASE has no types here
    _set_velocities(atoms, np.random.default_rng(seed))
    moments: list[Moment] = []
    with PosterionCalculator(url) as calculator:
        atoms.calc = calculator
        dynamics = VelocityVerlet(atoms, timestep=TIMESTEP_FS * units.fs)
        started = time.perf_counter()
        try:
            # The first moment is the start, before any step.
            for _ in dynamics.irun(N_STEPS):  # type: ignore[no-untyped-call] # as above
                moments.append(_moment(atoms, calculator, time.perf_counter() - started))
                report()
                started = time.perf_counter()
        except CalculatorError as error:
            raise DemoFailed(f"NVE step {len(moments)} got no answer: {error}") from error
    return Trajectory(moments=tuple(moments), n_atoms=len(atoms))


def _set_velocities(atoms: Atoms, rng: np.random.Generator) -> None:
    """Draw momenta of the Maxwell-Boltzmann distribution, and bring the molecule to rest."""
    masses = atoms.get_masses()[:, None]
    momenta = rng.normal(size=(len(atoms), 3)) * np.sqrt(masses * units.kB * TEMPERATURE_K)
    momenta -= masses * momenta.sum(axis=0) / masses.sum()
    atoms.set_momenta(momenta)  # type: ignore[no-untyped-call] # ASE has no types here


def _kinetic_energy(atoms: Atoms) -> float:
    return float(
        atoms.get_kinetic_energy()  # type: ignore[no-untyped-call] # ASE has no types here
    )


def _moment(atoms: Atoms, calculator: PosterionCalculator, elapsed_s: float) -> Moment:
    prediction = calculator.prediction
    assert prediction is not None, "the last step was answered"
    assert prediction.uncertainty is not None, "the calculator asks for the uncertainty"
    return Moment(
        potential=prediction.energy,
        kinetic=_kinetic_energy(atoms),
        energy_epistemic=prediction.uncertainty.energy.epistemic,
        force_max=float(np.linalg.norm(prediction.forces, axis=1).max()),
        force_epistemic_max=prediction.uncertainty.forces.max,
        flags=tuple(flag.code for flag in prediction.flags),
        call_ms=1e3 * elapsed_s,
    )
