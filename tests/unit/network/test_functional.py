"""One parameter vector or many, one structure or many: the answers are the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from posterion.graph.batch import build_graph, collate
from posterion.network.config import NetworkConfig
from posterion.network.functional import NetworkFunction
from posterion.structures.structure import Structure
from tests.support.networks import (
    REFERENCE,
    assert_near,
    assert_same_outputs,
    evaluate,
    network_config,
    network_function,
    random_parameters,
    start,
)
from tests.support.structures import oxygen, triclinic, water, zoo
from tests.support.tolerances import LARGE_SHIFT, SINGLE_PRECISION

N_SAMPLES = 3
ZOO = zoo()
SHIFT = -1e6


def test_a_structure_does_not_notice_its_batch() -> None:
    function = network_function(2)
    parameters = random_parameters(function, N_SAMPLES)
    together = evaluate(function, list(ZOO.values()), parameters, stress=True)
    first = 0
    for index, structure in enumerate(ZOO.values()):
        alone = evaluate(function, [structure], parameters, stress=True)
        atoms = slice(first, first + structure.n_atoms)
        first += structure.n_atoms
        assert_near(together.energy[:, [index]], alone.energy)
        assert_near(together.forces[:, atoms], alone.forces)
        assert_near(together.force_std[:, atoms], alone.force_std)
        assert_near(together.latent[:, atoms], alone.latent)
        assert_near(together.energy_std[[index]], alone.energy_std)
        assert together.stress is not None
        assert_near(together.stress[:, [index]], alone.stress)


def test_samples_evaluated_together_are_samples_evaluated_one_by_one() -> None:
    function = network_function(1, "full")
    parameters = random_parameters(function, N_SAMPLES)
    graphs = [build_graph(structure, function.config.cutoff) for structure in ZOO.values()]
    batch = collate(graphs, dtype=function.dtype, device="cpu")
    together = function.evaluate(parameters, batch, stress=True)
    for index, row in enumerate(parameters):
        one = function.evaluate_one(row, batch, stress=True)
        assert together.stress is not None
        assert_near(together.energy[[index]], one.energy)
        assert_near(together.forces[[index]], one.forces)
        assert_near(together.stress[[index]], one.stress)
        assert_near(together.force_std[[index]], one.force_std)
    assert float(together.forces.std(dim=0).max()) > 0.01


@pytest.mark.parametrize("n_samples", [1, N_SAMPLES])
def test_single_atom_has_an_energy_and_no_force(n_samples: int) -> None:
    function = network_function()
    outputs = evaluate(function, [oxygen()], random_parameters(function, n_samples))
    assert not bool(outputs.forces.any())
    assert bool(outputs.energy.isfinite().all())
    assert float((outputs.energy - REFERENCE.shifts[8]).abs().min()) > 0.0


def test_atoms_out_of_reach_add_up() -> None:
    function = network_function()
    parameters = random_parameters(function, N_SAMPLES)
    scattered = Structure(
        atomic_numbers=np.array([8, 8]), positions=np.array([[0.0] * 3, [50.0, 0.0, 0.0]])
    )
    two = evaluate(function, [scattered], parameters)
    one = evaluate(function, [oxygen()], parameters)
    assert_near(two.energy, 2.0 * one.energy)


def test_large_reference_energies_cost_no_digits() -> None:
    """float32 holds -1e6 eV to 0.06 eV: the reference has to be added in float64."""
    single = torch.float32
    small = network_function(dtype=single)
    shifted = REFERENCE.model_copy(
        update={"shifts": {z: shift + SHIFT for z, shift in REFERENCE.shifts.items()}}
    )
    large = NetworkFunction(network_config(), shifted, dtype=single, device="cpu")
    parameters = random_parameters(small, N_SAMPLES)
    structures = [water(), triclinic()]
    there, here = (evaluate(f, structures, parameters) for f in (large, small))
    assert there.energy.dtype == torch.float64
    n_atoms = torch.tensor([3.0, 4.0], dtype=torch.float64)
    assert_near(there.energy - n_atoms * SHIFT, here.energy, LARGE_SHIFT)
    assert torch.equal(there.forces, here.forces)


def test_single_precision_is_enough() -> None:
    double, single = network_function(2), network_function(2, dtype=torch.float32)
    parameters = random_parameters(double, N_SAMPLES).float()
    structures = list(ZOO.values())
    exact = evaluate(double, structures, parameters.double(), stress=True)
    rounded = evaluate(single, structures, parameters, stress=True)
    for name in ("forces", "force_std", "latent", "stress"):
        wanted, got = getattr(exact, name), getattr(rounded, name)
        scale = float(wanted.nan_to_num().abs().max())
        assert_near(got.double(), wanted, SINGLE_PRECISION * scale)
    shifts = [sum(REFERENCE.shifts[int(z)] for z in s.atomic_numbers) for s in structures]
    scale = float((exact.energy - torch.tensor(shifts)).abs().max())
    assert_near(rounded.energy, exact.energy, SINGLE_PRECISION * scale)


def test_noise_starts_at_its_scale_everywhere() -> None:
    function = network_function()
    outputs = evaluate(function, list(ZOO.values()), start(function)[None])
    expected = torch.full_like(outputs.force_std, function.config.noise_scale)
    assert torch.equal(outputs.force_std, expected)
    moved = evaluate(function, list(ZOO.values()), random_parameters(function, 1))
    assert float(moved.force_std.std()) > 0.0


def test_energy_noise_grows_with_the_root_of_the_number_of_atoms() -> None:
    function = network_function()
    structures = [oxygen(), triclinic()]
    energy_std = evaluate(function, structures, random_parameters(function, 1)).energy_std
    per_atom = REFERENCE.energy_std_per_sqrt_atom
    assert energy_std.tolist() == [per_atom, 2.0 * per_atom]


def test_flat_vector_and_named_weights_are_the_same_numbers() -> None:
    layout = network_function().layout
    vector = torch.arange(layout.n_parameters, dtype=torch.float64)
    assert torch.equal(layout.flatten(layout.unflatten(vector)), vector)


def test_start_depends_on_the_generator_alone() -> None:
    function = network_function()
    state = torch.get_rng_state()
    one, two, other = (
        function.initial_parameters(torch.Generator().manual_seed(seed)) for seed in (4, 4, 5)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_default_dtype() == torch.float32


def test_elements_out_of_order_are_refused_with_the_fix() -> None:
    with pytest.raises(ValueError, match=r"write \[1, 8\]"):
        NetworkConfig(elements=(8, 1, 1), cutoff=3.0)


def test_evaluation_repeats_bitwise() -> None:
    function = network_function()
    parameters = random_parameters(function, 1)
    assert_same_outputs(
        evaluate(function, [water()], parameters), evaluate(function, [water()], parameters), 0.0
    )


def test_single_precision_survives_coordinates_unwrapped_by_many_cells() -> None:
    """Atoms of running dynamics wander through images; float32 positions would lose digits."""
    here = triclinic()
    images = np.random.default_rng(5).integers(-3000, 3000, size=(here.n_atoms, 3))
    assert here.cell is not None
    there = replace(here, positions=here.positions + images @ here.cell)
    function = network_function(dtype=torch.float32)
    parameters = random_parameters(function, 2)
    near, far = (evaluate(function, [structure], parameters) for structure in (here, there))
    assert_near(far.forces, near.forces, SINGLE_PRECISION)


def test_energies_of_many_atoms_are_summed_in_double_precision() -> None:
    """A float32 sum over thousands of atoms would be off by more than one of them is."""
    function = network_function(dtype=torch.float32)
    parameters = random_parameters(function, 1)
    n_atoms = 4000
    apart = np.zeros((n_atoms, 3))
    apart[:, 0] = 10.0 * np.arange(n_atoms)
    gas = Structure(atomic_numbers=np.full(n_atoms, 8), positions=apart)
    one = evaluate(function, [oxygen()], parameters).energy
    all_of_them = evaluate(function, [gas], parameters).energy
    assert float((all_of_them / n_atoms - one).abs().max()) < 1e-9
