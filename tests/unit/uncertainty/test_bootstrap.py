"""Intervals of resampled frames have the width and the coverage that theory gives them."""

import numpy as np
import pytest

from posterion.uncertainty.bootstrap import Estimate, WeightedMean, bootstrap

N_FRAMES, N_PER_FRAME = 400, 9
TWO_SIDED = 1.959964


def frames(n_frames: int = N_FRAMES) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.repeat(np.arange(n_frames), N_PER_FRAME)


def mean_of(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> WeightedMean:
    n_frames = values.size // N_PER_FRAME
    return WeightedMean(values, frames(n_frames), n_frames=n_frames)


def test_the_value_is_that_of_the_frames_as_they_are() -> None:
    values = np.random.default_rng(0).normal(size=N_FRAMES * N_PER_FRAME)
    found = bootstrap({"mean": mean_of(values)}, n_frames=[N_FRAMES], n_resamples=0, seed=0)
    assert found["mean"].value == pytest.approx(values.mean())
    assert found["mean"].low is found["mean"].high is None


def test_values_of_one_frame_count_as_one() -> None:
    """Nine equal values in each frame: the interval is as wide as that of the frames."""
    per_frame = np.random.default_rng(1).normal(size=N_FRAMES)
    statistic = mean_of(np.repeat(per_frame, N_PER_FRAME))
    found = bootstrap({"mean": statistic}, n_frames=[N_FRAMES], n_resamples=2000, seed=0)["mean"]
    assert found.low is not None
    assert found.high is not None
    expected = 2.0 * TWO_SIDED * per_frame.std() / np.sqrt(N_FRAMES)
    # A quantile at 2.5 % of 2000 draws is known to 3 % of the standard deviation.
    assert found.high - found.low == pytest.approx(expected, rel=0.1)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(2)
    n_repeats, hits = 200, 0
    for seed in range(n_repeats):
        values = np.repeat(rng.normal(size=60), N_PER_FRAME) + rng.normal(size=60 * N_PER_FRAME)
        found = bootstrap({"m": mean_of(values)}, n_frames=[60], n_resamples=200, seed=seed)["m"]
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0.0 <= found.high
    # Four standard errors of a fraction of 0.95 over 200 repeats; the bootstrap of 60 frames
    # is narrow by about a percent itself.
    assert hits / n_repeats > 0.95 - 0.01 - 4.0 * np.sqrt(0.95 * 0.05 / n_repeats)
    assert hits < n_repeats


def test_the_same_seed_gives_the_same_interval() -> None:
    statistic = {"mean": mean_of(np.random.default_rng(3).normal(size=30 * N_PER_FRAME))}
    first, again, other = (
        bootstrap(statistic, n_frames=[30], n_resamples=50, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_groups_are_resampled_apart() -> None:
    """Every resample holds as many frames of the small group as there are."""
    seen = []

    def weight_of_group(weights: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        seen.append((weights[:3].sum(), weights[3:].sum()))
        return 0.0

    bootstrap({"any": weight_of_group}, n_frames=[3, 97], n_resamples=20, seed=0)
    assert set(seen) == {(3.0, 97.0)}
    assert len(seen) == 21


def test_the_transform_is_applied_to_the_mean() -> None:
    values = np.repeat([9.0, 16.0], N_PER_FRAME)
    root = WeightedMean(values, frames(2), n_frames=2, transform=lambda mean: mean**0.5)
    assert root(np.array([1.0, 0.0])) == 3.0
    assert root(np.array([1.0, 1.0])) == 12.5**0.5


def test_an_undefined_score_has_no_value_and_a_rare_one_no_interval() -> None:
    found = bootstrap(
        {
            "never": lambda weights: float("nan"),
            "rarely": lambda weights: 1.0 if np.all(weights == 1.0) else float("nan"),
        },
        n_frames=[20],
        n_resamples=30,
        seed=0,
    )
    assert found["never"] == Estimate(value=None)
    assert found["rarely"] == Estimate(value=1.0)
