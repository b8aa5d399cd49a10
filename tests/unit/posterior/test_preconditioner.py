"""Step sizes: their formulae, their caps, and what frozen means."""

import pytest
import torch
from torch import Tensor

from posterion.errors import ChainDiverged, CheckpointMismatch
from posterion.posterior.chain import Draws
from posterion.posterior.preconditioner import Amsgrad, InverseGradientVariance
from posterion.posterior.step_size import freeze, load_frozen_step_size
from posterion.posterior.types import UnfrozenPreconditioner

CPU = torch.device("cpu")
SHAPE = (2, 4)


def _gradients(n: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    scale = torch.logspace(-3, 2, SHAPE[1], dtype=torch.float64)
    return 5.0 + scale * torch.randn(n, *SHAPE, generator=generator, dtype=torch.float64)


def test_running_variance_is_the_variance() -> None:
    gradients = _gradients(50)
    chooser = InverseGradientVariance()
    state = chooser.init(SHAPE, torch.float64, CPU)
    for gradient in gradients:
        state = chooser.update(state, gradient)
    # A mean of 5 and a deviation of 1e-3 leave Welford's sum 1e-16 * 5 / 1e-3 of rounding.
    torch.testing.assert_close(state.variance, gradients.var(dim=0), rtol=1e-10, atol=0.0)
    torch.testing.assert_close(state.mean, gradients.mean(dim=0))


def test_step_size_follows_its_formula() -> None:
    chooser = InverseGradientVariance()
    state = chooser.init(SHAPE, torch.float64, CPU)
    for gradient in _gradients(50):
        state = chooser.update(state, gradient)
    eta = chooser.step_size(state, friction=0.1, epsilon=0.2, n_data=30, prior_precision=1e-12)
    torch.testing.assert_close(eta, 2 * 0.1 * 0.2 / (30**2 * state.variance))


def test_prior_caps_the_step_size_where_data_say_nothing() -> None:
    chooser = InverseGradientVariance()
    state = chooser.init((1, 3), torch.float64, CPU)
    for _ in range(3):
        state = chooser.update(state, torch.ones(1, 3, dtype=torch.float64))
    precision = torch.tensor([0.5, 1.0, 4.0])
    eta = chooser.step_size(state, friction=0.1, epsilon=0.1, n_data=10, prior_precision=precision)
    torch.testing.assert_close(eta[0], torch.tensor([4e-3, 2e-3, 5e-4], dtype=torch.float64))


def test_too_few_gradients_are_refused() -> None:
    chooser, amsgrad = InverseGradientVariance(), Amsgrad()
    one = chooser.update(chooser.init(SHAPE, torch.float32, CPU), torch.ones(SHAPE))
    with pytest.raises(ValueError, match="at least two gradients, got 1"):
        chooser.step_size(one, friction=0.1, epsilon=0.1, n_data=10, prior_precision=1.0)
    none = amsgrad.init(SHAPE, torch.float32, CPU)
    with pytest.raises(ValueError, match="at least one gradient, got 0"):
        amsgrad.step_size(none, friction=0.1, epsilon=0.1, n_data=10, prior_precision=1.0)


def test_amsgrad_bias_correction_is_exact_for_a_constant_gradient() -> None:
    chooser = Amsgrad(learning_rate=0.01, offset=0.0)
    state = chooser.init(SHAPE, torch.float64, CPU)
    for n in range(1, 4):
        state = chooser.update(state, torch.full(SHAPE, -3.0, dtype=torch.float64))
        eta = chooser.step_size(state, friction=0.1, epsilon=0.1, n_data=5, prior_precision=1.0)
        expected = torch.full(SHAPE, 0.1 * 0.01 / 5 / 3.0, dtype=torch.float64)
        torch.testing.assert_close(eta, expected, msg=f"after {n} gradients")


def test_amsgrad_never_forgets_the_largest_gradient() -> None:
    chooser = Amsgrad(decay=0.5)
    state = chooser.update(chooser.init(SHAPE, torch.float64, CPU), torch.full(SHAPE, 8.0))
    largest = state.maximum
    for _ in range(20):
        state = chooser.update(state, torch.full(SHAPE, 0.01))
    assert torch.equal(state.maximum, largest)
    assert float(state.second_moment.max()) < 1e-3 * float(largest.min())


def test_updates_leave_the_earlier_state_alone() -> None:
    for chooser in (InverseGradientVariance(), Amsgrad()):
        before = chooser.init(SHAPE, torch.float32, CPU)
        kept = [field.clone() for field in before]
        chooser.update(before, torch.ones(SHAPE))  # type: ignore[arg-type]  # its own state
        assert all(torch.equal(a, b) for a, b in zip(before, kept, strict=True))


def test_a_draw_needs_a_frozen_step_size() -> None:
    eta = torch.full(SHAPE, 0.1)
    with pytest.raises(UnfrozenPreconditioner, match="tensor that may adapt") as raised:
        Draws().collect(torch.zeros(SHAPE), eta)
    assert raised.value.code == "unfrozen-preconditioner"
    assert len(Draws().collect(torch.zeros(SHAPE), freeze(eta)).positions) == 1


def test_a_frozen_step_size_does_not_follow_the_tensor_it_came_from() -> None:
    eta = torch.full(SHAPE, 0.1).T.contiguous().T  # not contiguous
    frozen = freeze(eta)
    eta.mul_(2.0)
    frozen.require_unchanged()
    assert torch.equal(frozen.eta, torch.full(SHAPE, 0.1))
    assert frozen.eta.is_contiguous()


def test_one_changed_bit_of_a_frozen_step_size_refuses_the_draw() -> None:
    frozen = freeze(torch.full(SHAPE, 0.1))
    frozen.eta[1, 2] = torch.nextafter(frozen.eta[1, 2], torch.tensor(1.0))
    with pytest.raises(UnfrozenPreconditioner, match="written to"):
        Draws().collect(torch.zeros(SHAPE), frozen)


def test_draws_of_two_step_sizes_do_not_mix() -> None:
    draws = Draws().collect(torch.zeros(SHAPE), freeze(torch.full(SHAPE, 0.1)))
    with pytest.raises(UnfrozenPreconditioner, match="earlier draws were collected"):
        draws.collect(torch.zeros(SHAPE), freeze(torch.full(SHAPE, 0.2)))


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_step_size_that_cannot_move_a_chain_is_refused(wrong: float) -> None:
    eta = torch.full(SHAPE, 0.1)
    eta[0, 1] = wrong
    with pytest.raises(ChainDiverged, match="1 of 8 step sizes"):
        freeze(eta)


def test_a_frozen_step_size_survives_storage_and_damage_is_noticed() -> None:
    frozen = freeze(torch.rand(SHAPE) + 0.1)
    state = {name: tensor.clone() for name, tensor in frozen.state_dict().items()}
    loaded = load_frozen_step_size(state, device=CPU)
    assert torch.equal(loaded.eta, frozen.eta)
    assert loaded.digest == frozen.digest
    state["eta"][0, 0] *= 1.5
    with pytest.raises(CheckpointMismatch, match="do not match the digest"):
        load_frozen_step_size(state, device=CPU)
