"""The objective is minus the log posterior per datum, and its gradient is its gradient."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor

from posterion.graph.batch import build_graph, collate
from posterion.network.functional import NetworkFunction
from posterion.posterior.prior import GaussianPrior
from posterion.structures.ase_io import LabelledFrame
from posterion.structures.structure import Structure
from posterion.training.likelihood import EvidentialForces, ForceLikelihood, GaussianForces
from posterion.training.objective import (
    PotentialFunction,
    compile_potential,
    make_potential,
    pad_frames,
    predict_padded,
)
from tests.support.networks import assert_near, evaluate, network_function, random_parameters
from tests.support.structures import oxygen, slab, triclinic, water, zoo
from tests.support.tolerances import DISPLACEMENT, FINITE_DIFFERENCE, ROUNDING, SINGLE_PRECISION

PRIOR_STD = 0.8
PRIOR = GaussianPrior(std=PRIOR_STD)
GAUSSIAN = GaussianForces()
N_CHAINS = 2
FULL_WEIGHT = torch.tensor(1.0, dtype=torch.float64)


def labelled(structure: Structure, seed: int) -> LabelledFrame:
    """Labels of the right size and no meaning."""
    rng = np.random.default_rng(seed)
    shifts = network_function().reference.shifts
    reference = sum(shifts[int(z)] for z in structure.atomic_numbers)
    return LabelledFrame(
        structure=structure,
        energy=reference + rng.normal(scale=0.05),
        forces=rng.normal(scale=0.5, size=(structure.n_atoms, 3)),
    )


STRUCTURES = [water(), triclinic(), oxygen(), slab()]
FRAMES = [labelled(structure, seed) for seed, structure in enumerate(STRUCTURES)]
INDICES = torch.tensor([[0, 1, 3], [2, 3, 0]])


def potential_of(
    frames: Sequence[LabelledFrame],
    function: NetworkFunction | None = None,
    *,
    prior: GaussianPrior = PRIOR,
    likelihood: ForceLikelihood = GAUSSIAN,
) -> PotentialFunction:
    function = network_function() if function is None else function
    padded = pad_frames(frames, function)
    return make_potential(function, padded, likelihood=likelihood, prior=prior, n_data=len(frames))


def minus_log_posterior(frames: Sequence[LabelledFrame], parameters: Tensor) -> float:
    """-log p(labels) per frame - log p(parameters) / N, every constant kept; numpy and scipy."""
    function = network_function()
    outputs = evaluate(function, [frame.structure for frame in frames], parameters[None])
    energies = np.array([frame.energy for frame in frames])
    forces = np.concatenate([frame.forces for frame in frames])
    log_likelihood = (
        norm.logpdf(energies, outputs.energy[0].numpy(), outputs.energy_std.numpy()).sum()
        + norm.logpdf(forces, outputs.forces[0].numpy(), outputs.force_std[0, :, None]).sum()
    )
    log_prior = norm.logpdf(parameters.numpy(), 0.0, PRIOR_STD).sum()
    return float(-log_likelihood / len(frames) - log_prior / len(FRAMES))


def dropped_constants(frames: Sequence[LabelledFrame]) -> float:
    """What the objective leaves out: normalisations that no parameter changes."""
    energy_std = network_function().reference.energy_std_per_sqrt_atom
    half_log_two_pi = 0.5 * np.log(2.0 * np.pi)
    sizes: NDArray[np.float64] = np.array([frame.structure.n_atoms for frame in frames], float)
    energy = np.log(energy_std * np.sqrt(sizes)) + half_log_two_pi
    forces = 3.0 * sizes * half_log_two_pi
    return float((energy + forces).mean())


@pytest.fixture(scope="module")
def parameters() -> Tensor:
    return random_parameters(network_function(), N_CHAINS)


def test_value_is_minus_the_log_posterior_per_frame(parameters: Tensor) -> None:
    value = potential_of(FRAMES)(parameters, INDICES, FULL_WEIGHT).value
    for chain, indices in enumerate(INDICES.tolist()):
        frames = [FRAMES[index] for index in indices]
        expected = minus_log_posterior(frames, parameters[chain])
        constants = dropped_constants(frames)
        assert float(value[chain]) + constants == pytest.approx(expected, rel=ROUNDING)


def test_prior_may_have_a_centre(parameters: Tensor) -> None:
    """Only the prior's pull changes: by the shift of its centre over std^2 and N."""
    centre = parameters[0] + 0.3
    here, there = (
        potential_of(FRAMES, prior=GaussianPrior(mean=mean, std=PRIOR_STD))
        for mean in (0.0, centre)
    )
    plain = here(parameters, INDICES, FULL_WEIGHT)
    moved = there(parameters, INDICES, FULL_WEIGHT)
    pull = (-centre / (PRIOR_STD**2 * len(FRAMES))).expand_as(parameters)
    assert_near(moved.gradient - plain.gradient, pull, ROUNDING * float(plain.gradient.abs().max()))


def test_gradient_is_the_gradient_of_the_value(parameters: Tensor) -> None:
    potential = potential_of(FRAMES)
    gradient = potential(parameters, INDICES, FULL_WEIGHT).gradient
    generator = torch.Generator().manual_seed(2)
    for _ in range(4):
        direction = torch.randn(parameters.shape, generator=generator, dtype=torch.float64)
        direction /= direction.norm(dim=1, keepdim=True)
        ahead, behind = (
            potential(parameters + sign * DISPLACEMENT * direction, INDICES, FULL_WEIGHT).value
            for sign in (1.0, -1.0)
        )
        slope = (ahead - behind) / (2.0 * DISPLACEMENT)
        scale = float(gradient.norm(dim=1).max())
        assert_near(slope, (gradient * direction).sum(dim=1), FINITE_DIFFERENCE * scale)


def test_energy_weight_scales_the_energy_likelihood_alone(parameters: Tensor) -> None:
    potential = potential_of(FRAMES)
    none, half, full = (
        potential(parameters, INDICES, torch.tensor(weight, dtype=torch.float64)).value
        for weight in (0.0, 0.5, 1.0)
    )
    assert_near(2.0 * half, none + full)
    outputs = evaluate(network_function(), STRUCTURES, parameters)
    labels = torch.tensor([frame.energy for frame in FRAMES], dtype=torch.float64)
    terms = (outputs.energy - labels).square() / (2.0 * outputs.energy_std.square())
    assert_near(full - none, terms.gather(1, INDICES).mean(dim=1), FINITE_DIFFERENCE)


def test_force_error_is_the_mean_over_real_components(parameters: Tensor) -> None:
    potential = potential_of(FRAMES)
    forces = evaluate(network_function(), [STRUCTURES[0], STRUCTURES[2]], parameters).forces
    labels = np.concatenate([FRAMES[0].forces, FRAMES[2].forces])
    expected = (forces - torch.from_numpy(labels)).abs().mean(dim=(1, 2))
    indices = torch.tensor([[0, 2], [0, 2]])
    assert_near(potential(parameters, indices, FULL_WEIGHT).force_error, expected)


def test_padding_changes_nothing(parameters: Tensor) -> None:
    """Among frames fifty times as large, the small ones keep value and gradient."""
    giants = [labelled(structure, 9) for structure in zoo().values()]
    alone = potential_of(FRAMES)(parameters, INDICES, FULL_WEIGHT)
    function = network_function()
    padded = pad_frames([*FRAMES, *giants], function)
    among = make_potential(function, padded, likelihood=GAUSSIAN, prior=PRIOR, n_data=len(FRAMES))(
        parameters, INDICES, FULL_WEIGHT
    )
    assert padded.atom_mask.shape[1] == 80
    for name, value in alone._asdict().items():
        scale = float(value.abs().max())
        assert_near(getattr(among, name), value, ROUNDING * scale)


def test_padded_predictions_are_exactly_nothing_where_there_is_no_atom(
    parameters: Tensor,
) -> None:
    function = network_function()
    padded = pad_frames(FRAMES, function)
    batch = type(padded)(*(field[INDICES] for field in padded))
    _, forces, _ = predict_padded(function, parameters, batch, create_graph=False)
    assert not bool(forces[batch.atom_mask == 0].any())


def test_padded_predictions_are_those_of_the_batch(parameters: Tensor) -> None:
    function = network_function()
    padded = pad_frames(FRAMES, function)
    every = torch.arange(len(FRAMES)).expand(N_CHAINS, -1)
    batch = type(padded)(*(field[every] for field in padded))
    energy, forces, noise = predict_padded(function, parameters, batch, create_graph=False)
    graphs = [build_graph(structure, function.config.cutoff) for structure in STRUCTURES]
    together = collate(graphs, dtype=torch.float64, device="cpu")
    outputs = function.evaluate(parameters, together, stress=False)
    real = padded.atom_mask > 0
    assert_near(energy + function.reference_energy(together), outputs.energy)
    assert_near(forces[:, real], outputs.forces)
    assert_near(function.config.noise_scale * noise[:, real][..., 0].exp(), outputs.force_std)


def test_a_chain_does_not_notice_the_others(parameters: Tensor) -> None:
    potential = potential_of(FRAMES)
    together = potential(parameters, INDICES, FULL_WEIGHT)
    for chain in range(N_CHAINS):
        row = slice(chain, chain + 1)
        alone = potential(parameters[row], INDICES[row], FULL_WEIGHT)
        for name, value in alone._asdict().items():
            scale = float(value.abs().max())
            assert_near(getattr(together, name)[row], value, ROUNDING * scale)


def test_mean_over_all_minibatches_of_an_epoch_is_the_whole(parameters: Tensor) -> None:
    potential = potential_of(FRAMES)
    whole = potential(parameters, torch.tensor([[0, 1, 2, 3]] * 2), FULL_WEIGHT).gradient
    halves = [
        potential(parameters, torch.tensor([half] * 2), FULL_WEIGHT).gradient
        for half in ([3, 0], [1, 2])
    ]
    scale = float(whole.abs().max())
    assert_near(sum(halves, torch.zeros_like(whole)) / 2.0, whole, ROUNDING * scale)


@pytest.mark.statistical
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own modules
@pytest.mark.parametrize("likelihood", [GAUSSIAN, EvidentialForces("norm", 0.2)], ids=repr)
def test_compiled_step_is_the_eager_step(likelihood: ForceLikelihood) -> None:
    """Not in the default suite: compilation takes minutes."""
    function = network_function(dtype=torch.float32, noise=likelihood.noise_readout)
    eager = potential_of(FRAMES, function, likelihood=likelihood)
    rows = random_parameters(function, N_CHAINS, seed=4)
    compiled = compile_potential(eager, rows, INDICES)
    for seed, weight in ((5, 1.0), (6, 0.01)):
        rows = random_parameters(function, N_CHAINS, seed=seed)
        indices = INDICES.flip(seed % 2)
        expected = eager(rows, indices, torch.tensor(weight))
        for name, value in compiled(rows, indices, torch.tensor(weight))._asdict().items():
            wanted = getattr(expected, name)
            assert_near(value, wanted, SINGLE_PRECISION * float(wanted.abs().max()))
