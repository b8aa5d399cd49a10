"""The last layer's posterior is that of Bayesian linear regression in the right features."""

import numpy as np
import torch
from torch import Tensor
from torch.func import jacrev

from posterion.graph.batch import build_graph, collate
from posterion.network.functional import NetworkFunction, Topology
from posterion.training.methods.laplace import last_layer_features, last_layer_precision
from posterion.training.methods.linear_posterior import add_evidence, draw_weights
from tests.support.networks import assert_near, evaluate, network_function, random_parameters
from tests.support.tolerances import ROUNDING
from tests.unit.training.test_objective import FRAMES, STRUCTURES

N_LABELS, N_WEIGHTS = 40, 3
PRIOR_STD = 0.7


def test_posterior_is_that_of_linear_regression() -> None:
    """In one go and label by label; against the normal equations, by numpy."""
    rng = np.random.default_rng(5)
    features = rng.normal(size=(N_LABELS, N_WEIGHTS))
    noise = rng.uniform(0.1, 2.0, size=N_LABELS)
    weighted = np.linalg.inv(np.diag(noise**2))
    expected = features.T @ weighted @ features + np.eye(N_WEIGHTS) / PRIOR_STD**2
    precision = torch.eye(N_WEIGHTS, dtype=torch.float64) / PRIOR_STD**2
    at_once = add_evidence(precision, torch.from_numpy(features), torch.from_numpy(noise))
    for row, std in zip(features, noise, strict=True):
        precision = add_evidence(precision, torch.from_numpy(row[None]), torch.tensor([std]))
    assert_near(at_once, torch.from_numpy(expected))
    assert_near(precision, at_once)


def test_draws_have_the_mean_and_covariance_of_the_posterior() -> None:
    precision = torch.tensor([[3.0, 1.0, 0.0], [1.0, 2.0, -0.5], [0.0, -0.5, 1.0]]).double()
    mean = torch.tensor([1.0, -2.0, 0.5]).double()
    n_samples = 200_000
    generator = torch.Generator().manual_seed(6)
    draws = draw_weights(mean, precision, n_samples=n_samples, generator=generator)
    covariance = torch.linalg.inv(precision)
    # Five standard errors; of a covariance at most sqrt(2) times the largest variance.
    error = 5.0 / np.sqrt(n_samples)
    assert_near(draws.mean(dim=0), mean, error * float(covariance.diag().max().sqrt()))
    assert_near(draws.T.cov(), covariance, np.sqrt(2.0) * error * float(covariance.diag().max()))


def moved(parameters: Tensor, function: NetworkFunction, weights: Tensor) -> Tensor:
    other = parameters.clone()
    other[function.last_energy_weights] = weights
    return other


def test_features_are_derivatives_by_the_last_weights() -> None:
    """Against autograd, through the derivative that gives the forces."""
    function = network_function()
    (parameters,) = random_parameters(function, 1)
    last = function.last_energy_weights
    graphs = [build_graph(structure, function.config.cutoff) for structure in STRUCTURES]
    batch = collate(graphs, dtype=torch.float64, device="cpu")

    def answers(weights: Tensor) -> tuple[Tensor, Tensor]:
        row = torch.cat([parameters[: last.start], weights, parameters[last.stop :]])
        positions = torch.zeros((len(batch.atomic_numbers), 3), dtype=torch.float64)
        positions.requires_grad_()
        centre, neighbor = batch.edge_index
        vectors = batch.vectors + positions[neighbor] - positions[centre]
        one_hot = function.one_hot(batch.atomic_numbers)
        topology = Topology(centre, neighbor, one_hot, batch.structure_index)
        energy = function.centred(
            row[None], vectors[None], topology, n_structures=batch.n_structures
        ).energy[0]
        (gradient,) = torch.autograd.grad(energy.sum(), positions, create_graph=True)
        return energy, -gradient.reshape(-1)

    jacobian = torch.autograd.functional.jacobian(  # type: ignore[no-untyped-call]
        answers, parameters[last]
    )
    by_energy, by_force = jacobian
    parts = list(last_layer_features(function, parameters, FRAMES))
    assert_near(torch.cat([part.energy for part in parts]), by_energy)
    assert_near(torch.cat([part.forces for part in parts]), by_force)
    assert float(by_force.abs().max()) > 0.01


def test_features_say_what_a_change_of_the_weights_does() -> None:
    function = network_function()
    (parameters,) = random_parameters(function, 1)
    step = torch.linspace(-0.4, 0.7, 4, dtype=torch.float64)
    last = function.last_energy_weights
    before, after = (
        evaluate(function, STRUCTURES, moved(parameters, function, weights)[None])
        for weights in (parameters[last], parameters[last] + step)
    )
    parts = list(last_layer_features(function, parameters, FRAMES))
    energy = torch.cat([part.energy for part in parts]) @ step
    forces = torch.cat([part.forces for part in parts]) @ step
    assert_near(after.energy[0] - before.energy[0], energy, ROUNDING * 1e3)
    assert_near((after.forces[0] - before.forces[0]).reshape(-1), forces)


def test_precision_is_the_curvature_of_the_log_posterior() -> None:
    """Second derivative of minus the log posterior of all frames by the last weights."""
    function = network_function()
    (parameters,) = random_parameters(function, 1)
    last = function.last_energy_weights
    precision = last_layer_precision(function, parameters, FRAMES, prior_std=PRIOR_STD)
    at = evaluate(function, STRUCTURES, parameters[None])
    parts = list(last_layer_features(function, parameters, FRAMES))
    energy, forces = (torch.cat([p[i] for p in parts]) for i in (0, 2))

    def minus_log_posterior(weights: Tensor) -> Tensor:
        change = weights - parameters[last]
        by_energy = (energy @ change / at.energy_std).square().sum()
        by_force = (forces @ change / at.force_std[0].repeat_interleave(3)).square().sum()
        total: Tensor = by_energy + by_force + (weights / PRIOR_STD).square().sum()
        return 0.5 * total

    curvature: Tensor = jacrev(jacrev(minus_log_posterior))(parameters[last])
    assert_near(precision, curvature, ROUNDING * float(curvature.abs().max()))
