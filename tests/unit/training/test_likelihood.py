"""Each force likelihood is the density it is named for, and its gradient is its gradient."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor
from torch.distributions import StudentT

from posterion.network.functional import NetworkFunction
from posterion.network.noise import evidence
from posterion.training.likelihood import (
    EvidentialForces,
    ForceLikelihood,
    GaussianForces,
    published_network,
)
from posterion.training.objective import make_potential, pad_frames
from tests.support.networks import (
    assert_near,
    evaluate,
    network_config,
    network_function,
    random_parameters,
)
from tests.support.tolerances import DISPLACEMENT, FINITE_DIFFERENCE, ROUNDING
from tests.unit.training.test_objective import FRAMES, FULL_WEIGHT, PRIOR, STRUCTURES

SCALE = 0.3
N_ATOMS = 7
HALF_LOG_TWO_PI = 0.5 * np.log(2.0 * np.pi)
LIKELIHOODS: dict[str, ForceLikelihood] = {
    "gaussian component": GaussianForces(),
    "gaussian norm": GaussianForces("norm"),
    "evidential component": EvidentialForces(regularization=0.2),
    "evidential norm": EvidentialForces("norm", 0.2),
}


@pytest.fixture
def error() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return 0.5 * torch.randn((N_ATOMS, 3), generator=generator, dtype=torch.float64)


def noise(n_outputs: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn((N_ATOMS, n_outputs), generator=generator, dtype=torch.float64)


def residuals(error: Tensor, residual: str) -> Tensor:
    """What is distributed, one column each."""
    return error if residual == "component" else error.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("residual", ["component", "norm"])
def test_gaussian_loss_is_the_log_density(residual: str, error: Tensor) -> None:
    raw = noise(1)
    sigma = SCALE * np.exp(raw.numpy())
    columns = residuals(error, residual).numpy()
    expected = -norm.logpdf(columns, scale=sigma).sum(axis=1)
    loss = GaussianForces(residual)(error, raw, scale=SCALE)  # type: ignore[arg-type]
    assert_near(loss + columns.shape[1] * HALF_LOG_TWO_PI, torch.from_numpy(expected))


@pytest.mark.parametrize("residual", ["component", "norm"])
def test_evidential_loss_is_the_marginal_log_density(residual: str, error: Tensor) -> None:
    """Mean and variance integrated out leave Student's t (Amini et al., 2020, eq. 7)."""
    raw = noise(3)
    nu, alpha, beta = (part[:, None] for part in evidence(raw, scale=SCALE))
    width = (beta * (1.0 + nu) / (nu * alpha)).sqrt()
    density = StudentT(2.0 * alpha, loc=0.0, scale=width)
    log_density = density.log_prob(residuals(error, residual))  # type: ignore[no-untyped-call]
    loss = EvidentialForces(residual)(error, raw, scale=SCALE)  # type: ignore[arg-type]
    assert_near(loss, -log_density.sum(dim=1))


@pytest.mark.parametrize("residual", ["component", "norm"])
def test_regulariser_charges_evidence_for_wrong_forces(residual: str, error: Tensor) -> None:
    raw = noise(3)
    nu, alpha, _ = evidence(raw, scale=SCALE)
    plain, charged = (
        EvidentialForces(residual, weight)(error, raw, scale=SCALE)  # type: ignore[arg-type]
        for weight in (0.0, 0.7)
    )
    size = residuals(error, residual).abs().sum(dim=1)
    assert_near(charged - plain, 0.7 * size * (2.0 * nu + alpha))


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_gradient_of_the_potential_is_its_slope(name: str) -> None:
    likelihood = LIKELIHOODS[name]
    function = network_function(noise=likelihood.noise_readout)
    potential = make_potential(
        function,
        pad_frames(FRAMES, function),
        likelihood=likelihood,
        prior=PRIOR,
        n_data=len(FRAMES),
    )
    parameters, indices = random_parameters(function, 1), torch.tensor([[0, 2, 3]])

    def value(at: Tensor) -> Tensor:
        return potential(at, indices, FULL_WEIGHT).value

    gradient = potential(parameters, indices, FULL_WEIGHT).gradient
    assert_slope(value, gradient, parameters)


def assert_slope(value: Callable[[Tensor], Tensor], gradient: Tensor, at: Tensor) -> None:
    generator = torch.Generator().manual_seed(3)
    for _ in range(4):
        direction = torch.randn(at.shape, generator=generator, dtype=torch.float64)
        direction /= direction.norm()
        ahead, behind = (value(at + sign * DISPLACEMENT * direction) for sign in (1.0, -1.0))
        slope = (ahead - behind) / (2.0 * DISPLACEMENT)
        assert_near(slope.sum(), (gradient * direction).sum(), FINITE_DIFFERENCE * gradient.norm())


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_perfect_forces_have_a_finite_gradient(name: str) -> None:
    """Padded atoms have no error at all, and a norm has no derivative there."""
    likelihood = LIKELIHOODS[name]
    n_outputs = 3 if likelihood.noise_readout == "evidential" else 1
    error = torch.zeros((N_ATOMS, 3), dtype=torch.float64, requires_grad=True)
    loss = likelihood(error, noise(n_outputs), scale=SCALE).sum()
    (gradient,) = torch.autograd.grad(loss, error)
    assert not bool(gradient.any())


@pytest.mark.parametrize("readout", ["gaussian", "evidential"])
def test_noise_of_norms_is_published_by_component(readout: str) -> None:
    trained = network_config(noise=readout)  # type: ignore[arg-type]
    published = published_network(trained, "norm")
    assert published_network(trained, "component") == trained
    function = network_function(noise=readout)
    other = NetworkFunction(published, function.reference, dtype=function.dtype, device="cpu")
    parameters = random_parameters(function, 2)
    before, after = (evaluate(f, STRUCTURES, parameters) for f in (function, other))
    assert_near(3.0 * after.force_std.square(), before.force_std.square(), ROUNDING)
    assert_near(after.forces, before.forces)
    if readout == "evidential":
        assert before.force_epistemic_std is not None
        assert after.force_epistemic_std is not None
        assert_near(3.0 * after.force_epistemic_std.square(), before.force_epistemic_std.square())


def test_evidence_states_both_variances() -> None:
    function = network_function(noise="evidential")
    outputs = evaluate(function, STRUCTURES, random_parameters(function, 2))
    assert outputs.force_epistemic_std is not None
    assert outputs.force_epistemic_std.shape == outputs.force_std.shape
    found = evidence(noise(3), scale=SCALE)
    # Means of beta over inverse-gamma draws: E[sigma^2] and E[sigma^2] / nu.
    generator = np.random.default_rng(4)
    gamma = generator.gamma(found.alpha.numpy() + 2.0, size=(400_000, N_ATOMS))
    draws = found.beta.numpy() / gamma
    shifted = found._replace(alpha=found.alpha + 2.0)
    # With a shape above 3 the draws' variance is finite; 2 % is ten standard errors.
    np.testing.assert_allclose(shifted.aleatoric_variance.numpy(), draws.mean(axis=0), rtol=0.02)
    np.testing.assert_allclose(
        shifted.epistemic_variance.numpy(), draws.mean(axis=0) / found.nu.numpy(), rtol=0.02
    )
