"""What the network may not notice: where a structure lies, how it is turned or numbered."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from posterion.graph.batch import build_graph, collate
from posterion.network.functional import Topology
from tests.support.networks import (
    Parity,
    assert_near,
    assert_same_outputs,
    evaluate,
    network_function,
    random_parameters,
)
from tests.support.structures import (
    FloatArray,
    displaced,
    rotation,
    slab,
    supercell,
    transformed,
    triclinic,
    water,
)
from tests.support.tolerances import ROUNDING

NETWORKS: list[tuple[int, Parity]] = [
    (0, "natural"), (1, "natural"), (2, "natural"), (3, "natural"), (1, "full"), (2, "full"),
]  # fmt: skip
STRUCTURES = [water(), triclinic(), slab()]
MAPS = {"rotation": rotation(1), "reflection": -rotation(2), "inversion": -np.eye(3)}


@pytest.mark.parametrize(("l_max", "parity"), NETWORKS)
@pytest.mark.parametrize("name", MAPS)
def test_energies_are_invariant_and_forces_and_stress_turn_along(
    l_max: int, parity: Parity, name: str
) -> None:
    function = network_function(l_max, parity)
    parameters = random_parameters(function, 1)
    matrix = torch.from_numpy(MAPS[name])
    before = evaluate(function, STRUCTURES, parameters, stress=True)
    turned = [transformed(structure, MAPS[name]) for structure in STRUCTURES]
    after = evaluate(function, turned, parameters, stress=True)
    assert_near(after.energy, before.energy)
    assert_near(after.forces, before.forces @ matrix.T)
    assert_near(after.force_std, before.force_std)
    assert_near(after.latent, before.latent)
    assert before.stress is not None
    assert after.stress is not None
    # The second structure is the periodic one.
    assert_near(after.stress[:, 1], matrix @ before.stress[:, 1] @ matrix.T)
    assert float(before.forces.abs().max()) > 0.01


@pytest.mark.parametrize(("l_max", "parity"), NETWORKS)
def test_every_weight_of_the_energy_matters(l_max: int, parity: Parity) -> None:
    """A network that ignored its angular features would pass every law above."""
    function = network_function(l_max, parity)
    parameters = random_parameters(function, 1).requires_grad_()
    graph = build_graph(triclinic(), function.config.cutoff)
    batch = collate([graph], dtype=torch.float64, device="cpu")
    centre, neighbor = batch.edge_index
    one_hot = function.one_hot(batch.atomic_numbers)
    topology = Topology(centre, neighbor, one_hot, batch.structure_index)
    energy = function.centred(parameters, batch.vectors[None], topology, n_structures=1).energy
    (gradient,) = torch.autograd.grad(energy.sum(), parameters)
    weights = function.layout.unflatten(gradient[0])
    silent = {name for name, part in weights.items() if not bool(part.any())}
    assert silent == {name for name in weights if name.startswith("noise_readout")}


def test_translation_changes_nothing() -> None:
    function = network_function()
    parameters = random_parameters(function, 1)
    moved = [displaced(s, np.array([3.0, -41.0, 7.5])) for s in STRUCTURES]
    assert_same_outputs(
        evaluate(function, moved, parameters, stress=True),
        evaluate(function, STRUCTURES, parameters, stress=True),
    )


def test_atom_moved_by_lattice_vectors_is_the_same_atom() -> None:
    function = network_function()
    parameters = random_parameters(function, 1)
    home = triclinic()
    assert home.cell is not None
    away = displaced(home, np.array([[1, 0, 0], [0, -2, 1], [3, 3, 3], [0, 0, 0]]) @ home.cell)
    assert_same_outputs(
        evaluate(function, [away], parameters, stress=True),
        evaluate(function, [home], parameters, stress=True),
    )


def test_other_choice_of_cell_is_the_same_crystal() -> None:
    function = network_function()
    parameters = random_parameters(function, 1)
    home = triclinic()
    assert home.cell is not None
    sheared = replace(home, cell=np.array([[1, 0, 0], [1, 1, 0], [-1, 2, 1]]) @ home.cell)
    assert_same_outputs(
        evaluate(function, [sheared], parameters, stress=True),
        evaluate(function, [home], parameters, stress=True),
    )


def test_permutation_permutes_the_atoms_and_leaves_the_energy() -> None:
    function = network_function()
    parameters = random_parameters(function, 1)
    order = np.array([2, 0, 3, 1])
    home = triclinic()
    shuffled = replace(
        home, positions=home.positions[order], atomic_numbers=home.atomic_numbers[order]
    )
    before = evaluate(function, [home], parameters)
    after = evaluate(function, [shuffled], parameters)
    assert_near(after.energy, before.energy)
    assert_near(after.forces, before.forces[:, order])
    assert_near(after.force_std, before.force_std[:, order])


def test_supercell_has_its_multiple_of_the_energy_and_equal_forces() -> None:
    function = network_function()
    parameters = random_parameters(function, 1)
    repeats = (2, 3, 1)
    n_images = int(np.prod(repeats))
    one = evaluate(function, [triclinic()], parameters, stress=True)
    many = evaluate(function, [supercell(triclinic(), repeats)], parameters, stress=True)
    assert_near(many.energy, n_images * one.energy)
    assert_near(many.forces, one.forces.repeat(1, n_images, 1))
    assert_near(many.force_std, one.force_std.repeat(1, n_images))
    assert_near(many.stress, one.stress)


def test_forces_of_a_structure_sum_to_zero() -> None:
    function = network_function(2)
    parameters = random_parameters(function, 1)
    for structure in STRUCTURES:
        forces = evaluate(function, [structure], parameters).forces
        assert_near(forces.sum(dim=1), torch.zeros(1, 3, dtype=torch.float64))


def test_torque_on_a_molecule_is_zero() -> None:
    function = network_function(2)
    forces = evaluate(function, [water()], random_parameters(function, 1)).forces[0].numpy()
    torque: FloatArray = np.cross(water().positions, forces).sum(axis=0)
    np.testing.assert_allclose(torque, 0.0, rtol=0.0, atol=ROUNDING)
