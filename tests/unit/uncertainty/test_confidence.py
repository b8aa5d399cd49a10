"""Three numbers are what labels teach, and their law is Student's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad

from posterion.uncertainty.confidence import PRIOR_SCALE, PRIOR_SHAPE, EnergyConfidence

REFERENCED = EnergyConfidence(offset=0.0)
EXACT = 1e-12

states = st.builds(
    EnergyConfidence,
    n=st.integers(0, 500),
    sum_squares=st.floats(0.0, 2000.0),
    offset=st.just(0.0),
)
stds = st.floats(1e-3, 10.0)
thresholds = st.floats(1e-3, 10.0)


@given(states, thresholds, stds)
def test_the_probability_is_that_of_the_students_t_law(
    state: EnergyConfidence, threshold: float, std: float
) -> None:
    freedom = state.n + 2 * PRIOR_SHAPE
    scale = std * np.sqrt((2 * PRIOR_SCALE + state.sum_squares) / freedom)
    law = stats.t(df=freedom, scale=scale)
    assert state.probability_within(threshold, std=std) == pytest.approx(
        law.cdf(threshold) - law.cdf(-threshold), abs=EXACT
    )


def test_the_law_is_a_normal_error_under_an_uncertain_variance() -> None:
    """Integrate over the posterior of the squared factor: prior times likelihood of z."""
    residuals = np.array([0.3, -2.0, 1.1, 4.0])
    state = REFERENCED
    for z in residuals:
        state = state.with_label(reference=0.2 * z, predicted=0.0, std=0.2)
    prior = stats.invgamma(a=PRIOR_SHAPE, scale=PRIOR_SCALE)

    def weight(variance: float) -> float:
        likelihood = stats.norm(scale=np.sqrt(variance)).pdf(residuals).prod()
        return float(prior.pdf(variance) * likelihood)

    def inside(variance: float) -> float:
        return weight(variance) * float(2 * stats.norm.cdf(0.5 / (0.2 * np.sqrt(variance))) - 1)

    evidence = quad(weight, 0.0, np.inf, epsabs=0.0, epsrel=1e-10)[0]
    expected = quad(inside, 0.0, np.inf, epsabs=0.0, epsrel=1e-10)[0] / evidence
    assert state.probability_within(0.5, std=0.2) == pytest.approx(expected, rel=1e-7)


def test_the_prior_starts_cautious() -> None:
    assert EnergyConfidence().probability_within(0.5, std=0.1) == pytest.approx(0.852, abs=5e-4)


def test_many_labels_make_it_the_normal_law_of_their_spread() -> None:
    state = REFERENCED
    for z in np.random.default_rng(0).normal(scale=2.0, size=5000):
        state = state.with_label(reference=0.1 * z, predicted=0.0, std=0.1)
    expected = 2 * stats.norm.cdf(0.3 / 0.2) - 1
    # Standard error of a spread from 5000 residuals: 1 %; times the density at 1.5, twice.
    assert state.probability_within(0.3, std=0.1) == pytest.approx(expected, abs=5 * 0.004)


@given(states, thresholds, stds, st.floats(1.01, 3.0))
def test_a_wider_threshold_is_likelier_and_a_wider_spread_is_not(
    state: EnergyConfidence, threshold: float, std: float, factor: float
) -> None:
    here = state.probability_within(threshold, std=std)
    assert 0.0 <= here <= 1.0
    assert state.probability_within(factor * threshold, std=std) >= here
    assert state.probability_within(threshold, std=factor * std) <= here


@given(st.lists(st.floats(-50.0, 50.0), min_size=1, max_size=8), st.randoms())
def test_labels_may_come_in_any_order(energies: list[float], order: object) -> None:
    shuffled = sorted(energies, key=lambda _: order.random())  # type: ignore[attr-defined]
    states = []
    for sequence in (energies, shuffled):
        state = REFERENCED
        for energy in sequence:
            state = state.with_label(reference=energy, predicted=1.0, std=0.5)
        states.append(state)
    assert states[0].n == states[1].n
    assert states[0].sum_squares == pytest.approx(states[1].sum_squares)


def test_the_first_label_fixes_the_zero_and_teaches_nothing_else() -> None:
    first = EnergyConfidence().with_label(reference=-4209.0, predicted=-1.0, std=0.1)
    assert first == EnergyConfidence(n=0, sum_squares=0.0, offset=-4208.0)
    second = first.with_label(reference=-4208.8, predicted=-1.0, std=0.1)
    assert (second.n, second.offset) == (1, -4208.0)
    assert second.sum_squares == pytest.approx(4.0)
