"""Which data the steps see: permutations cancel over an epoch, independent subsets do not."""

from collections.abc import Callable, Iterator

import pytest
import torch

from posterion.errors import CheckpointMismatch, ConfigurationError
from posterion.posterior.minibatches import (
    IndependentMinibatches,
    MinibatchSource,
    PermutedMinibatches,
)


def _order(seed: int, n_data: int = 23, batch_size: int = 5) -> PermutedMinibatches:
    generator = torch.Generator().manual_seed(seed)
    return PermutedMinibatches(n_data=n_data, batch_size=batch_size, generator=generator)


def _independent(seed: int, n_data: int = 23, batch_size: int = 5) -> IndependentMinibatches:
    generator = torch.Generator().manual_seed(seed)
    return IndependentMinibatches(n_data=n_data, batch_size=batch_size, generator=generator)


Make = Callable[..., MinibatchSource]
SOURCES = [_order, _independent]


def batched(batches: list[torch.Tensor]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Disjoint pairs."""
    return zip(batches[::2], batches[1::2], strict=True)


def test_an_epoch_shows_no_datum_twice() -> None:
    order = _order(0, n_data=20)
    for _ in range(3):
        epoch = torch.cat([order.next_batch() for _ in range(4)])
        assert torch.equal(epoch.sort().values, torch.arange(20))


def test_a_remainder_too_short_for_a_minibatch_is_left_out() -> None:
    order = _order(0)
    for _ in range(3):
        epoch = torch.cat([order.next_batch() for _ in range(4)])
        assert len(set(epoch.tolist())) == 20


def test_every_datum_is_seen_equally_often() -> None:
    order = _order(0)
    n_epochs = 2000
    seen = torch.bincount(torch.cat([order.next_batch() for _ in range(4 * n_epochs)]))
    # Each epoch leaves out 3 of 23: a binomial count of 2000 trials at 20 / 23, sd 15.
    p = 20 / 23
    bound = 5 * (n_epochs * p * (1 - p)) ** 0.5
    assert float((seen - n_epochs * p).abs().max()) < bound


def test_an_epoch_is_the_window_over_which_noise_cancels() -> None:
    order = _order(0)
    starts = []
    for _ in range(8):
        order.next_batch()
        starts.append(order.starts_window)
    assert starts == [True, False, False, False] * 2


def test_independent_minibatches_are_subsets_that_repeat_between_steps() -> None:
    source = _independent(0)
    batches = [source.next_batch() for _ in range(2000)]
    assert all(len(set(batch.tolist())) == 5 for batch in batches)
    assert source.starts_window
    # Two minibatches share each datum with probability 5 / 23: 25 / 23 = 1.09 on average,
    # hypergeometric with sd .86; 1000 disjoint pairs.
    shared = [len(set(a.tolist()) & set(b.tolist())) for a, b in batched(batches)]
    assert sum(shared) / 1000 == pytest.approx(25 / 23, abs=5 * 0.86 / 1000**0.5)


@pytest.mark.parametrize("make", SOURCES)
def test_the_order_resumes_in_the_middle_of_an_epoch(make: Make) -> None:
    order = make(0)
    for _ in range(6):
        order.next_batch()
    other = make(1)
    other.load_state_dict(order.state_dict())
    for _ in range(10):
        assert torch.equal(order.next_batch(), other.next_batch())
        assert order.starts_window == other.starts_window


@pytest.mark.parametrize("make", SOURCES)
def test_another_data_set_cannot_resume_the_order(make: Make) -> None:
    with pytest.raises(CheckpointMismatch, match=r"\(23, 5\).*\(24, 5\)"):
        make(0, 24).load_state_dict(make(0).state_dict())


@pytest.mark.parametrize("make", SOURCES)
@pytest.mark.parametrize("batch_size", [0, 24])
def test_an_impossible_batch_size_is_refused(make: Make, batch_size: int) -> None:
    with pytest.raises(ConfigurationError, match=f"number of data 23, got {batch_size}"):
        make(0, 23, batch_size)
