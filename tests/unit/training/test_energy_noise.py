"""The energy noise is found again from errors and spread, and never grows."""

import numpy as np
import pytest

from posterion.network.config import EnergyReference
from posterion.training.energy_noise import FLOOR, fit_energy_noise, with_energy_noise
from posterion.uncertainty.held_out import HeldOut

N_FRAMES, N_ATOMS, N_SAMPLES = 4000, 9, 8
REFERENCE = EnergyReference(shifts={1: 0.0}, scale=1.0, energy_std_per_sqrt_atom=0.01)


def held_out(*, noise: float, spread: float) -> HeldOut:
    """Truth and samples drawn from one distribution, labels with noise on top."""
    rng = np.random.default_rng(0)
    draws = rng.normal(scale=spread, size=(N_SAMPLES + 1, N_FRAMES))
    forces = np.zeros((N_SAMPLES, N_FRAMES * N_ATOMS, 3))
    return HeldOut(
        n_atoms=np.full(N_FRAMES, N_ATOMS),
        energies=draws[1:],
        energy_std=np.full(N_FRAMES, 0.01 * np.sqrt(N_ATOMS)),
        energy_reference=draws[0] + rng.normal(scale=noise * np.sqrt(N_ATOMS), size=N_FRAMES),
        forces=forces,
        force_std=np.ones(forces.shape[:2]),
        force_reference=forces[0],
    )


@pytest.mark.parametrize("noise", [0.002, 0.006])
def test_noise_is_found_again(noise: float) -> None:
    fitted = fit_energy_noise(REFERENCE, held_out(noise=noise, spread=0.004))
    # Relative error of a variance from n frames is sqrt(2 / n) = 2 %, plus that of the spread.
    assert fitted.energy_std_per_sqrt_atom == pytest.approx(noise, rel=0.15)


def test_noise_has_a_floor_and_never_exceeds_the_likelihood() -> None:
    exact = fit_energy_noise(REFERENCE, held_out(noise=0.0, spread=0.0))
    assert exact.energy_std_per_sqrt_atom == pytest.approx(FLOOR * 0.01)
    noisy = fit_energy_noise(REFERENCE, held_out(noise=0.05, spread=0.0))
    assert noisy.energy_std_per_sqrt_atom == 0.01


def test_predictions_keep_everything_but_the_noise() -> None:
    before = held_out(noise=0.002, spread=0.004)
    after = with_energy_noise(
        before, REFERENCE.model_copy(update={"energy_std_per_sqrt_atom": 0.1})
    )
    np.testing.assert_allclose(after.energy_std, 0.1 * np.sqrt(N_ATOMS))
    assert after.energies is before.energies
