"""Residuals are those of the calibrated mixture, and atoms those of their components."""

from dataclasses import replace

import numpy as np
import pytest

from posterion.uncertainty.calibration import Calibration
from posterion.uncertainty.fitting import fit_calibration
from posterion.uncertainty.held_out import HeldOut
from posterion.uncertainty.judged import judge_atoms, judge_structures
from posterion.uncertainty.residuals import energy_residuals, force_residuals
from tests.support.gaussian_bank import gaussian_held_out

ROUNDING = 1e-12
N_FRAMES, N_ATOMS, N_SAMPLES = 60, 5, 8


@pytest.fixture(scope="module")
def held_out() -> HeldOut:
    return gaussian_held_out(N_FRAMES, factor=2.0, n_atoms=N_ATOMS, n_samples=N_SAMPLES)


@pytest.fixture(scope="module")
def calibration(held_out: HeldOut) -> Calibration:
    return fit_calibration(held_out, dataset_digest=f"sha256:{'0' * 64}", date="2026-01-01")


def test_moments_are_those_of_the_held_out_frames_times_the_factor(
    held_out: HeldOut, calibration: Calibration
) -> None:
    entry = calibration.entries[-1]
    for found, moments, factor, reference in (
        (
            force_residuals(held_out, calibration),
            held_out.force_moments(N_SAMPLES),
            entry.forces.factor,
            held_out.force_reference,
        ),
        (
            energy_residuals(held_out, calibration),
            held_out.energy_moments(N_SAMPLES),
            entry.energy.factor,
            held_out.energy_reference,
        ),
    ):
        np.testing.assert_allclose(
            found.error, (moments.mean.numpy() - reference).ravel(), atol=ROUNDING
        )
        np.testing.assert_allclose(
            found.total, factor * moments.total.sqrt().numpy().ravel(), rtol=ROUNDING
        )


def test_the_calibrated_mixture_keeps_its_mean_and_scales_its_width(
    held_out: HeldOut, calibration: Calibration
) -> None:
    for found in (force_residuals(held_out, calibration), energy_residuals(held_out, calibration)):
        np.testing.assert_allclose(found.sample_residuals.mean(axis=0), found.error, atol=ROUNDING)
        # Law of total variance, with n in the denominator as a mixture has it.
        variance = found.sample_residuals.var(axis=0) + np.mean(found.sample_std**2, axis=0)
        expected = found.epistemic**2 * (1.0 - 1.0 / N_SAMPLES) + found.aleatoric**2
        np.testing.assert_allclose(variance, expected, rtol=1e-10)


def test_values_know_their_frames(held_out: HeldOut, calibration: Calibration) -> None:
    forces = force_residuals(held_out, calibration)
    assert np.array_equal(forces.frame, np.repeat(np.arange(N_FRAMES), 3 * N_ATOMS))
    assert np.array_equal(energy_residuals(held_out, calibration).frame, np.arange(N_FRAMES))


def test_an_atom_is_as_wrong_as_the_length_of_its_error(
    held_out: HeldOut, calibration: Calibration
) -> None:
    forces = force_residuals(held_out, calibration)
    latent = np.arange(N_FRAMES * N_ATOMS, dtype=float)
    atoms = judge_atoms(forces, latent=latent)
    mean = held_out.force_moments(N_SAMPLES).mean.numpy()
    np.testing.assert_allclose(
        atoms.error, np.linalg.norm(mean - held_out.force_reference, axis=1), rtol=ROUNDING
    )
    parts = atoms.uncertainty
    np.testing.assert_allclose(
        parts["total"] ** 2, parts["epistemic"] ** 2 + parts["aleatoric"] ** 2, rtol=ROUNDING
    )
    assert np.array_equal(parts["latent"], latent)
    assert np.array_equal(atoms.frame, np.repeat(np.arange(N_FRAMES), N_ATOMS))


def test_a_structure_is_its_worst_atom_or_their_mean() -> None:
    uneven = replace(
        gaussian_held_out(2, factor=1.0, n_atoms=3), n_atoms=np.array([1, 5], dtype=np.int64)
    )
    calibration = fit_calibration(
        gaussian_held_out(30, factor=1.0), dataset_digest=f"sha256:{'0' * 64}", date="2026-01-01"
    )
    atoms = judge_atoms(force_residuals(uneven, calibration))
    worst, mean = (judge_structures(atoms, by=by) for by in ("max", "mean"))
    for whole, reduce in ((worst, np.max), (mean, np.mean)):
        assert np.array_equal(whole.frame, [0, 1])
        assert whole.error == pytest.approx([reduce(atoms.error[:1]), reduce(atoms.error[1:])])
        spread = atoms.uncertainty["epistemic"]
        assert whole.uncertainty["epistemic"] == pytest.approx(
            [reduce(spread[:1]), reduce(spread[1:])]
        )
