"""Forces and stress are derivatives of the energy, and both end smoothly at the cutoff."""

import numpy as np
import pytest
import torch
from torch import Tensor

from posterion.structures.structure import Structure
from tests.support.networks import (
    CUTOFF,
    assert_near,
    evaluate,
    network_function,
    random_parameters,
)
from tests.support.structures import displaced, oxygen, slab, transformed, triclinic, water, zoo
from tests.support.tolerances import CONTINUITY, CROSSING, DISPLACEMENT, FINITE_DIFFERENCE

N_SAMPLES = 2


def energies(structures: list[Structure]) -> Tensor:
    """Shape ``(n_samples, n_structures)``."""
    function = network_function()
    return evaluate(function, structures, random_parameters(function, N_SAMPLES)).energy


def central_differences(structures: list[Structure]) -> Tensor:
    """From structures displaced by +h, -h, +h, ...: shape ``(n_samples, n / 2)``."""
    values = energies(structures)
    return (values[:, 0::2] - values[:, 1::2]) / (2.0 * DISPLACEMENT)


@pytest.mark.parametrize("structure", [water(), triclinic(), slab()], ids=["0d", "3d", "2d"])
def test_forces_are_the_negative_gradient_of_the_energy(structure: Structure) -> None:
    function = network_function()
    forces = evaluate(function, [structure], random_parameters(function, N_SAMPLES)).forces
    moved = []
    for step in DISPLACEMENT * np.eye(3 * structure.n_atoms):
        moved += [displaced(structure, sign * step.reshape(-1, 3)) for sign in (1.0, -1.0)]
    scale = float(forces.abs().max())
    assert scale > 0.01
    assert_near(-central_differences(moved), forces.flatten(1), FINITE_DIFFERENCE * scale)


def test_stress_is_the_derivative_by_strain_per_volume() -> None:
    function = network_function()
    crystal = triclinic()
    assert crystal.volume is not None
    parameters = random_parameters(function, N_SAMPLES)
    stress = evaluate(function, [crystal], parameters, stress=True).stress
    assert stress is not None
    strained = []
    for step in DISPLACEMENT * np.eye(9):
        strained += [
            transformed(crystal, np.eye(3) + sign * step.reshape(3, 3)) for sign in (1.0, -1.0)
        ]
    numerical = (central_differences(strained) / crystal.volume).reshape(-1, 1, 3, 3)
    scale = float(stress.abs().max())
    assert scale > 0.001
    assert_near(numerical, stress, FINITE_DIFFERENCE * scale)
    assert_near(stress, stress.transpose(2, 3))


def test_stress_leaves_energy_and_forces_alone_and_molecules_have_none() -> None:
    function = network_function()
    parameters = random_parameters(function, N_SAMPLES)
    structures = [water(), triclinic()]
    without = evaluate(function, structures, parameters)
    with_stress = evaluate(function, structures, parameters, stress=True)
    assert without.stress is None
    assert with_stress.stress is not None
    assert_near(with_stress.energy, without.energy)
    assert_near(with_stress.forces, without.forces)
    assert bool(with_stress.stress[:, 0].isnan().all())
    assert bool(with_stress.stress[:, 1].isfinite().all())


def with_visitor(distance: float) -> Structure:
    """Water and an oxygen atom so far from its oxygen, away from its hydrogens."""
    visitor = np.array([[0.0, -distance, 0.0]])
    return Structure(
        atomic_numbers=np.append(water().atomic_numbers, 8),
        positions=np.concatenate([water().positions, visitor]),
    )


@pytest.mark.parametrize("l_max", [0, 2])
def test_energy_and_forces_are_continuous_where_an_atom_crosses_the_cutoff(l_max: int) -> None:
    function = network_function(l_max)
    parameters = random_parameters(function, N_SAMPLES)
    distances = (CUTOFF - 1.0, CUTOFF - CROSSING, CUTOFF + CROSSING)
    near, inside, outside = (
        evaluate(function, [with_visitor(distance)], parameters) for distance in distances
    )
    assert_near(inside.energy, outside.energy, CONTINUITY)
    assert_near(inside.forces, outside.forces, CONTINUITY)
    assert_near(inside.force_std, outside.force_std, CONTINUITY)
    # Nearer, the visitor is felt: the law above is not empty.
    assert float((near.energy - outside.energy).abs().min()) > 1e-3
    assert float(near.forces[:, 3].abs().max()) > 1e-3


def test_beyond_the_cutoff_nothing_is_felt() -> None:
    function = network_function()
    parameters = random_parameters(function, N_SAMPLES)
    together = evaluate(function, [with_visitor(CUTOFF + 1.0)], parameters)
    apart = evaluate(function, [water(), oxygen()], parameters)
    assert_near(together.energy[:, 0], apart.energy.sum(dim=1))
    assert_near(together.forces, apart.forces)


def test_periodic_atom_alone_in_its_cell_has_no_force_but_stress() -> None:
    function = network_function()
    crystal = zoo()["smaller-than-cutoff"]
    parameters = random_parameters(function, N_SAMPLES)
    outputs = evaluate(function, [crystal], parameters, stress=True)
    assert_near(outputs.forces, torch.zeros_like(outputs.forces))
    assert outputs.stress is not None
    assert float(outputs.stress.abs().max()) > 1e-4
