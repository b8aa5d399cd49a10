"""The benchmark of adaptive numbers of samples counts agreement and samples rightly."""

from benchmarks.adaptive_samples import compared, table
from posterion.inference.predictor import Predictor
from tests.support.banks import random_bank, thermal_ethanol


def test_a_bank_agrees_with_itself_where_every_sample_is_needed() -> None:
    predictor = Predictor(random_bank(n_samples=4))
    row = compared(predictor, thermal_ethanol(3))
    assert row["n"] == row["adaptive_agrees"] == row["fewest_agrees"] == 3
    assert (row["mean_n_samples"], row["histogram"], row["fewest"]) == (4.0, {"4": 3}, 4)
    assert table({"ethanol": row}).splitlines()[2].startswith("| ethanol | 3 | ")


def test_samples_lie_between_the_first_rung_and_the_last() -> None:
    predictor = Predictor(random_bank(n_samples=8))
    row = compared(predictor, thermal_ethanol(6))
    assert 4.0 <= row["mean_n_samples"] <= 8.0  # type: ignore[operator]
    assert isinstance(row["histogram"], dict)
    assert sum(row["histogram"].values()) == 6  # type: ignore[arg-type]
