"""The benchmark's budgets are enough for what it trains."""

from pathlib import Path

import pytest

from benchmarks.ammonia_barrier import BUDGET, DEFAULT_METHOD, QUICK_BUDGET, configuration


@pytest.mark.parametrize("budget", [BUDGET, QUICK_BUDGET])
@pytest.mark.parametrize("method", [DEFAULT_METHOD, "deep-ensemble-4", "mean-variance"])
def test_both_budgets_reach_the_draws(method: str, budget: int) -> None:
    config = configuration(method, Path("data"), seed=3, budget=budget)
    assert (config.name, config.seed) == (f"ammonia-{method}-3", 3)
    members = config.n_chains
    assert config.pretraining.steps <= budget // members
