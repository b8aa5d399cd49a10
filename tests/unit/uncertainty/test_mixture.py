"""A mixture's variance is what its samples disagree on plus what each of them admits."""

import pytest
import torch
from torch import Tensor

from posterion.uncertainty.mixture import bank_moments, mixture_moments

EXACT = 1e-14


@pytest.fixture
def samples() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    means = torch.randn((6, 5, 3), generator=generator, dtype=torch.float64)
    return means, torch.rand((6, 5, 3), generator=generator, dtype=torch.float64)


def test_two_samples_have_the_moments_worked_out_by_hand() -> None:
    moments = mixture_moments(torch.tensor([[1.0], [3.0]]), torch.tensor([[0.5], [1.5]]))
    assert moments.mean.item() == 2.0
    assert moments.epistemic.item() == 2.0  # ((1 - 2)^2 + (3 - 2)^2) / (2 - 1)
    assert moments.aleatoric.item() == 1.0
    assert moments.total.item() == 3.0


def test_identical_samples_have_no_epistemic_variance(samples: tuple[Tensor, Tensor]) -> None:
    means, variances = samples
    moments = mixture_moments(means[:1].expand(4, -1, -1), variances[:1].expand(4, -1, -1))
    assert moments.epistemic.abs().max() < EXACT
    torch.testing.assert_close(moments.mean, means[0], atol=EXACT, rtol=0)


def test_moments_do_not_depend_on_sample_order(samples: tuple[Tensor, Tensor]) -> None:
    means, variances = samples
    turned = mixture_moments(means.flip(0), variances.flip(0))
    for one, other in zip(mixture_moments(means, variances), turned, strict=True):
        torch.testing.assert_close(one, other, atol=EXACT, rtol=0)


def test_a_shift_moves_the_mean_alone(samples: tuple[Tensor, Tensor]) -> None:
    means, variances = samples
    here, there = mixture_moments(means, variances), mixture_moments(means + 5.0, variances)
    torch.testing.assert_close(there.mean, here.mean + 5.0, atol=EXACT, rtol=EXACT)
    torch.testing.assert_close(there.total, here.total, atol=EXACT, rtol=EXACT)


def test_shape_mismatch_names_both_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(3, 2\) and \(3, 1\)"):
        mixture_moments(torch.zeros(3, 2), torch.zeros(3, 1))


def test_a_single_sample_has_no_spread() -> None:
    with pytest.raises(ValueError, match="at least two samples, got 1"):
        mixture_moments(torch.zeros(1, 2), torch.zeros(1, 2))


def test_a_single_sample_disagrees_with_nobody(samples: tuple[Tensor, Tensor]) -> None:
    means, variances = samples[0][:1], samples[1][:1]
    moments = bank_moments(means, variances, epistemic=None)
    assert torch.equal(moments.mean, means[0])
    assert torch.equal(moments.aleatoric, variances[0])
    assert float(moments.epistemic.abs().max()) == 0.0


def test_what_samples_admit_adds_to_what_they_disagree_on(samples: tuple[Tensor, Tensor]) -> None:
    means, variances = samples
    own = torch.rand(means.shape, generator=torch.Generator().manual_seed(1), dtype=means.dtype)
    spread = mixture_moments(means, variances)
    assert bank_moments(means, variances, epistemic=None).epistemic.equal(spread.epistemic)
    both = bank_moments(means, variances, epistemic=own)
    torch.testing.assert_close(
        both.epistemic, spread.epistemic + own.mean(dim=0), rtol=EXACT, atol=0.0
    )
    assert both.total.equal(both.epistemic + spread.aleatoric)
    alone = bank_moments(means[:1], variances[:1], epistemic=own[:1])
    assert torch.equal(alone.epistemic, own[0])


def test_an_epistemic_part_of_another_shape_is_refused(samples: tuple[Tensor, Tensor]) -> None:
    means, variances = samples
    with pytest.raises(ValueError, match=r"shape of means, \(6, 5, 3\), got \(6, 5\)"):
        bank_moments(means, variances, epistemic=variances[:, :, 0])
