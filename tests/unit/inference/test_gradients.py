"""Forces and stress are the derivatives of the energy, and turn with the molecule."""

from dataclasses import replace

import numpy as np
import pytest

from posterion.inference.predictor import Predictor
from tests.support.banks import thermal_ethanol
from tests.support.predictions import (
    BATCH_TOLERANCE,
    DOUBLE,
    crystal,
    moved,
    predicted,
    uncertainty,
)

# Central differences of step h: h^2/6 F'' + rounding 1e-12/h, both below 1e-6 at 1e-4.
STEP = 1e-4
FINITE_DIFFERENCE = 1e-6


def test_mean_forces_are_the_gradient_of_the_mean_energy(predictor: Predictor) -> None:
    structure = thermal_ethanol(1)[0]
    (prediction,) = predicted(predictor, [structure])
    shifted = []
    for atom in range(structure.n_atoms):
        for axis in range(3):
            for sign in (1.0, -1.0):
                positions = structure.positions.copy()
                positions[atom, axis] += sign * STEP
                shifted.append(moved(structure, positions))
    energies = np.array([one.energy for one in predicted(predictor, shifted)])
    slopes = (energies[0::2] - energies[1::2]) / (2.0 * STEP)
    np.testing.assert_allclose(
        prediction.forces, -slopes.reshape(-1, 3), atol=FINITE_DIFFERENCE, rtol=0
    )


def test_stress_is_the_gradient_of_the_mean_energy_with_strain(predictor: Predictor) -> None:
    structure = crystal()
    assert structure.cell is not None
    options = replace(DOUBLE, stress=True)
    (prediction,) = predicted(predictor, [structure], options)
    assert prediction.stress is not None
    assert structure.volume is not None
    for axis, other in ((0, 0), (1, 2), (2, 2)):
        energies = []
        for sign in (1.0, -1.0):
            strain = np.eye(3)
            strain[axis, other] += 0.5 * sign * STEP
            strain[other, axis] += 0.5 * sign * STEP
            strained = replace(
                structure, positions=structure.positions @ strain, cell=structure.cell @ strain
            )
            energies.append(predicted(predictor, [strained])[0].energy)
        slope = (energies[0] - energies[1]) / (2.0 * STEP * structure.volume)
        assert prediction.stress[axis, other] == pytest.approx(slope, abs=FINITE_DIFFERENCE)


def test_forces_and_per_atom_spread_turn_with_the_molecule(predictor: Predictor) -> None:
    structure = thermal_ethanol(1)[0]
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    here, there = predicted(
        predictor, [structure, moved(structure, structure.positions @ turn + 30.0)]
    )
    tolerance = BATCH_TOLERANCE["float64"]
    np.testing.assert_allclose(there.forces, here.forces @ turn, atol=tolerance, rtol=0)
    np.testing.assert_allclose(
        uncertainty(there).forces_per_atom, uncertainty(here).forces_per_atom, atol=tolerance
    )
    assert there.energy == pytest.approx(here.energy, abs=tolerance)
