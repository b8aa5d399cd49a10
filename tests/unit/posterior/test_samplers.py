"""The samplers against targets with known moments: the quick version of every check."""

import inspect
from types import ModuleType

import pytest
import torch
from torch import Tensor

from posterion.posterior import baoa, sghmc
from posterion.posterior.types import LangevinState
from tests.support.sampler_checks import CHECKS
from tests.support.sampler_kit import BAOA, SGHMC
from tests.support.sampling import FRICTION, Effort

SHAPE = (3, 5)
# Minibatches take a second each; for BAOA they wait for the statistical suite.
QUICK_FOR_BAOA = [
    "exact_variance",
    "exact_corrected_variance",
    "variance",
    "temperature",
    "thermometers",
    "quartic",
    "cyclical",
    "distance_from_the_start",
    "resume",
]


def _state(seed: int = 0) -> tuple[LangevinState, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    q, u, g, z = torch.randn(4, *SHAPE, generator=generator)
    return LangevinState(q, u), g, torch.logspace(-3, -1, SHAPE[1]).expand(SHAPE), z


@pytest.mark.parametrize("name", CHECKS)
def test_sghmc_passes(name: str) -> None:
    measurement = CHECKS[name](SGHMC, Effort())
    assert measurement.passed, measurement


@pytest.mark.parametrize("name", QUICK_FOR_BAOA)
def test_baoa_passes(name: str) -> None:
    measurement = CHECKS[name](BAOA, Effort())
    assert measurement.passed, measurement


@pytest.mark.parametrize("sampler", [sghmc, baoa])
def test_a_chain_at_rest_starts_with_a_copy_of_its_position(sampler: ModuleType) -> None:
    position = torch.ones(SHAPE)
    state = sampler.init(position)
    position.zero_()
    assert torch.equal(state.position, torch.ones(SHAPE))
    assert not state.momentum.any()


@pytest.mark.parametrize("sampler", [sghmc, baoa])
def test_update_is_advance_with_noise_from_the_generator(sampler: ModuleType) -> None:
    state, g, eta, _ = _state()
    z = torch.randn(SHAPE, generator=torch.Generator().manual_seed(7))
    expected = sampler.advance(state, g, eta, z, n_data=9, friction=FRICTION, temperature=0.7)
    moved = sampler.update(
        state,
        g,
        eta,
        n_data=9,
        friction=FRICTION,
        temperature=0.7,
        generator=torch.Generator().manual_seed(7),
    )
    assert torch.equal(moved.position, expected.position)
    assert torch.equal(moved.momentum, expected.momentum)


@pytest.mark.parametrize("sampler", [sghmc, baoa])
def test_a_chain_moves_alone_as_it_moves_among_others(sampler: ModuleType) -> None:
    state, g, eta, z = _state()
    together = sampler.advance(state, g, eta, z, n_data=9, friction=FRICTION, temperature=1.0)
    for i in range(SHAPE[0]):
        row = slice(i, i + 1)
        alone = sampler.advance(
            LangevinState(state.position[row], state.momentum[row]),
            g[row],
            eta[row],
            z[row],
            n_data=9,
            friction=FRICTION,
            temperature=1.0,
        )
        assert torch.equal(alone.position, together.position[row])
        assert torch.equal(alone.momentum, together.momentum[row])


@pytest.mark.parametrize("sampler", [sghmc, baoa])
def test_a_temperature_may_be_a_tensor_or_a_number(sampler: ModuleType) -> None:
    state, g, eta, z = _state()
    moved = [
        sampler.advance(state, g, eta, z, n_data=9, friction=FRICTION, temperature=t)
        for t in (0.5, torch.tensor(0.5))
    ]
    assert torch.equal(moved[0].position, moved[1].position)


@pytest.mark.parametrize("sampler", [sghmc, baoa])
def test_without_heat_a_chain_falls_to_the_minimum(sampler: ModuleType) -> None:
    state, _, eta, z = _state()
    for _ in range(400):
        state = sampler.advance(
            state, state.position, eta, z, n_data=10, friction=FRICTION, temperature=0.0
        )
    # h = .01 to 1: all modes lose sqrt(1 - a) per step, .9^200 = 7e-10 of order one is left.
    assert float(state.position.abs().max()) < 1e-7


@pytest.mark.parametrize("sampler", [sghmc, baoa])
def test_nothing_is_injected_where_minibatch_noise_is_already_too_hot(
    sampler: ModuleType,
) -> None:
    _, _, eta, _ = _state()
    hottest = 2 * FRICTION / eta
    std = sampler.noise_std(
        eta, n_data=1, friction=FRICTION, temperature=1.0, noise_correction=1.2 * hottest
    )
    assert not std.any()


@pytest.mark.parametrize("sampler", [sghmc, baoa])
def test_a_step_compiles_without_a_break(sampler: ModuleType) -> None:
    state, g, eta, z = _state()
    temperature = torch.tensor(0.3)

    def step(state: LangevinState, g: Tensor, eta: Tensor, z: Tensor, t: Tensor) -> LangevinState:
        moved: LangevinState = sampler.advance(
            state, g, eta, z, n_data=9, friction=FRICTION, temperature=t, noise_correction=g**2
        )
        return moved

    # The eager backend needs no C++ compiler; fullgraph raises at any host synchronisation.
    compiled = torch.compile(step, fullgraph=True, backend="eager")
    moved, expected = (f(state, g, eta, z, temperature) for f in (compiled, step))
    assert torch.equal(moved.position, expected.position)


def test_rescaling_keeps_the_temperature_of_every_parameter() -> None:
    state, _, eta, _ = _state()
    doubled = state.rescaled(4 * eta / eta)
    torch.testing.assert_close(doubled.momentum, 2 * state.momentum)
    assert torch.equal(doubled.position, state.position)
    assert torch.equal(state.at_rest().position, state.position)
    assert not state.at_rest().momentum.any()


def test_samplers_can_stand_for_each_other() -> None:
    assert inspect.signature(sghmc.update) == inspect.signature(baoa.update)
    assert inspect.signature(sghmc.advance) == inspect.signature(baoa.advance)
