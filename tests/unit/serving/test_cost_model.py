"""The cost model finds what a device does, through noise, drift and outliers."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from posterion.serving.cost_model import CostModel
from posterion.serving.formation import Cost

Device = Callable[[Cost], float]
SMALL, LARGE = Cost(edges=500, atoms=90), Cost(edges=60_000, atoms=4_000)


def device(fixed: float, per_edge: float, per_atom: float) -> Device:
    return lambda cost: fixed + per_edge * cost.edges + per_atom * cost.atoms


STEADY = device(2e-3, 5e-7, 2e-6)


def batches(n: int, seed: int = 0) -> list[Cost]:
    """Batches of one to sixty-four molecules of various density."""
    rng = np.random.default_rng(seed)
    atoms = 90 * rng.integers(1, 65, size=n)
    edges = atoms * rng.uniform(6.0, 20.0, size=n)
    return [Cost(edges=int(e), atoms=int(a)) for e, a in zip(edges, atoms, strict=True)]


def taught(
    truth: Device, n: int, *, noise: float = 0.0, model: CostModel | None = None
) -> CostModel:
    model = CostModel() if model is None else model
    rng = np.random.default_rng(1)
    for cost in batches(n):
        model.learn(cost, truth(cost) * float(np.exp(noise * rng.standard_normal())))
    return model


def test_before_the_first_batch_everything_seems_fast() -> None:
    assert 0.0 < CostModel().seconds(LARGE) < 0.01


def test_without_noise_the_device_is_found_exactly() -> None:
    model = taught(STEADY, 300)
    for cost in (SMALL, LARGE):
        assert model.seconds(cost) == pytest.approx(STEADY(cost), rel=1e-3)
    assert model.fixed_s == pytest.approx(2e-3, rel=1e-2)


def test_noise_averages_out() -> None:
    # Fifty remembered batches of 15 % noise leave some 4 %; a constant takes its share.
    model = taught(STEADY, 300, noise=0.15)
    for cost in (Cost(edges=9_000, atoms=800), LARGE):
        assert model.seconds(cost) == pytest.approx(STEADY(cost), rel=0.12)


@pytest.mark.parametrize("factor", [0.1, 0.5, 2.0, 10.0])
def test_a_device_that_changes_its_pace_is_followed(factor: float) -> None:
    def changed(cost: Cost) -> float:
        return factor * STEADY(cost)

    model = taught(changed, 150, model=taught(STEADY, 200))
    assert model.seconds(LARGE) == pytest.approx(changed(LARGE), rel=0.1)


@pytest.mark.parametrize("outlier", [0.01, 100.0])
def test_one_batch_in_twenty_that_is_far_off_moves_little(outlier: float) -> None:
    model = CostModel()
    for index, cost in enumerate(batches(400)):
        model.learn(cost, STEADY(cost) * (outlier if index % 20 == 19 else 1.0))
    for cost in (Cost(edges=9_000, atoms=800), LARGE):
        # Counted as off by the largest step, a short time weighs three times what others do.
        assert 0.7 * STEADY(cost) < model.seconds(cost) < 1.3 * STEADY(cost)


@pytest.mark.parametrize("truth", [device(0.0, 5e-7, 0.0), device(3e-2, 0.0, 0.0)])
def test_no_coefficient_is_negative(truth: Device) -> None:
    model = taught(truth, 200, noise=0.2)
    nothing = model.seconds(Cost(edges=0, atoms=0))
    assert 0.0 <= nothing <= model.seconds(SMALL) <= model.seconds(LARGE)


def test_equal_batches_are_predicted_though_they_tell_nothing_apart() -> None:
    model = CostModel()
    for _ in range(100):
        model.learn(SMALL, 0.01)
    assert model.seconds(SMALL) == pytest.approx(0.01, rel=1e-3)
    assert 0.01 < model.seconds(Cost(edges=5_000, atoms=900)) < 0.1


def test_what_was_known_survives_a_thousand_equal_batches() -> None:
    model = taught(STEADY, 300)
    for _ in range(1_000):
        model.learn(SMALL, STEADY(SMALL))
    assert model.seconds(LARGE) == pytest.approx(STEADY(LARGE), rel=0.05)


def test_a_batch_expected_to_take_no_time_at_all_is_learnt_from() -> None:
    # A device whose time lies in edges alone: the fit says so, and then comes an atom without.
    model = CostModel()
    for edges, atoms in ((1_000, 500), (10_000, 900), (100_000, 300), (1_000_000, 400)) * 10:
        model.learn(Cost(edges=edges, atoms=atoms), 1e-9 * edges**1.3)
    alone = Cost(edges=0, atoms=12)
    assert model.seconds(alone) == 0.0
    for _ in range(10):
        model.learn(alone, 5e-3)
        model.learn(SMALL, 6e-3)
    assert model.seconds(alone) == pytest.approx(5e-3, rel=0.1)


@pytest.mark.parametrize("elapsed_s", [math.inf, math.nan])
def test_a_time_that_is_none_teaches_nothing(elapsed_s: float) -> None:
    model = CostModel()
    model.learn(LARGE, elapsed_s)
    model.learn(SMALL, 0.01)
    assert model.seconds(SMALL) == pytest.approx(0.01, rel=0.01)


def test_structures_without_edges_are_predicted_too() -> None:
    model = CostModel()
    model.learn(Cost(edges=0, atoms=8), 0.004)
    assert model.seconds(Cost(edges=0, atoms=8)) == pytest.approx(0.004, rel=0.01)
