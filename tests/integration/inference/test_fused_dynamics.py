"""Molecular dynamics on the fused engine conserves energy as the float64 reference does."""

import numpy as np
import pytest
from ase import units
from ase.data import atomic_masses
from numpy.typing import NDArray

from posterion.bundled import bundled_store
from posterion.inference.loading import load_bank
from posterion.inference.predictor import Predictor
from posterion.structures.evaluation import EvaluationOptions, Precision
from posterion.structures.prediction import Prediction
from posterion.structures.structure import Structure
from posterion_store import Store
from tests.support.banks import NUMBERS, POSITIONS

N_STEPS = 150
TIMESTEP = 0.25 * units.fs
TEMPERATURE_K = 300.0
SAME_EV = 1e-5
"""Largest difference of the total energies along both trajectories; measured 6e-7."""


def total_energies(predictor: Predictor, precision: Precision) -> NDArray[np.float64]:
    """Velocity Verlet on the mean forces of two samples, from ethanol at rest."""
    options = EvaluationOptions(precision=precision, n_samples=2)

    def answer(positions: NDArray[np.float64]) -> Prediction:
        (found,) = predictor.predict(
            [Structure(atomic_numbers=NUMBERS, positions=positions)], options
        )
        assert isinstance(found, Prediction)
        return found

    masses = atomic_masses[NUMBERS][:, None]
    spread = np.sqrt(units.kB * TEMPERATURE_K / masses)
    velocities = spread * np.random.default_rng(0).normal(size=POSITIONS.shape)
    positions, here = POSITIONS, answer(POSITIONS)
    energies = []
    for _ in range(N_STEPS):
        velocities = velocities + 0.5 * TIMESTEP * here.forces / masses
        positions = positions + TIMESTEP * velocities
        here = answer(positions)
        velocities = velocities + 0.5 * TIMESTEP * here.forces / masses
        energies.append(here.energy + 0.5 * float((masses * velocities**2).sum()))
    return np.array(energies)


@pytest.mark.timeout(300)
def test_energy_is_conserved_as_by_the_reference() -> None:
    predictor = Predictor(load_bank(Store.open(bundled_store(), read_only=True), "ethanol"))
    assert predictor.engine(EvaluationOptions()).name == "fused"
    fast, exact = (total_energies(predictor, one) for one in ("float32", "float64"))
    np.testing.assert_allclose(fast, exact, atol=SAME_EV, rtol=0.0)
    # What both fluctuate by is the integrator's; the forces are the energy's gradient.
    assert 1e-6 < float(fast.std()) < 1e-3
