"""How the settings of a run become the schedule of its steps."""

import pytest

from posterion.posterior.chain import Phase, StepPlan
from posterion.training.chain_setup import ENERGY_START, energy_weight


def test_the_weight_of_the_energies_rises_to_one_and_stays() -> None:
    steps = [
        StepPlan(phase=Phase.PRETRAINING, index=i, length=1000, temperature=0.0)
        for i in (0, 5, 10, 999)
    ]
    first, halfway, full, last = (energy_weight(step, warm_up=0.01) for step in steps)
    assert first == pytest.approx(ENERGY_START)
    assert halfway == pytest.approx(ENERGY_START**0.5)
    assert (full, last) == (1.0, 1.0)
