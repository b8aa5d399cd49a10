"""The score of an atom is a negative log density above a stated zero, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import multivariate_normal

from posterion.uncertainty import latent_density, latent_fitting
from posterion.uncertainty.latent_density import (
    FLOOR,
    ElementMixture,
    LatentDensity,
    score_of_structures,
)
from posterion.uncertainty.latent_fitting import fit_latent_density

FloatArray = NDArray[np.float64]

EXACT = 1e-10
WEIGHTS = (0.25, 0.75)
MEANS = np.array([[0.0, 0.0, 0.0], [8.0, -4.0, 2.0]])
COVARIANCES = np.array(
    [
        [[1.0, 0.3, 0.0], [0.3, 0.5, 0.1], [0.0, 0.1, 2.0]],
        [[0.2, 0.0, 0.05], [0.0, 0.3, 0.0], [0.05, 0.0, 0.1]],
    ]
)


def mixture_density(atoms: FloatArray) -> FloatArray:
    """Negative log density of the mixture, by scipy."""
    parts = [
        weight * multivariate_normal(mean, covariance).pdf(atoms)
        for weight, mean, covariance in zip(WEIGHTS, MEANS, COVARIANCES, strict=True)
    ]
    density: FloatArray = -np.log(np.sum(parts, axis=0))
    return density


def by_hand(*, zero: float = 0.0) -> ElementMixture:
    whitening = np.stack([np.linalg.inv(np.linalg.cholesky(c)).T for c in COVARIANCES])
    heights = [
        -0.5 * (np.linalg.slogdet(covariance)[1] + 3 * np.log(2 * np.pi))
        for covariance in COVARIANCES
    ]
    return ElementMixture(
        elements=(1,),
        log_weights=np.log(WEIGHTS) + np.array(heights),
        means=MEANS,
        whitening=whitening,
        zero=zero,
    )


def drawn(n_atoms: int, *, seed: int = 0) -> FloatArray:
    rng = np.random.default_rng(seed)
    component = rng.choice(2, size=n_atoms, p=WEIGHTS)
    roots = np.linalg.cholesky(COVARIANCES)
    noise = rng.normal(size=(n_atoms, 3))
    atoms: FloatArray = MEANS[component] + np.einsum("aij,aj->ai", roots[component], noise)
    return atoms


def hydrogens(atoms: FloatArray) -> NDArray[np.int64]:
    return np.ones(len(atoms), dtype=np.int64)


def test_the_density_of_a_mixture_is_the_textbook_one() -> None:
    atoms = drawn(200)
    np.testing.assert_allclose(
        by_hand().negative_log_density(atoms), mixture_density(atoms), rtol=EXACT
    )


def test_the_score_is_the_density_above_the_zero_but_not_below_the_floor() -> None:
    atoms, zero = drawn(200), float(mixture_density(drawn(200)).min())
    scores = LatentDensity(mixtures=(by_hand(zero=zero),)).scores(hydrogens(atoms), atoms)
    np.testing.assert_allclose(scores, np.maximum(mixture_density(atoms) - zero, FLOOR), rtol=EXACT)
    assert scores.min() == FLOOR


def test_far_away_the_score_grows_with_the_squared_distance() -> None:
    direction = np.array([[1.0, 0.0, 0.0]])
    density = LatentDensity(mixtures=(by_hand(),))
    near, far = (density.scores(np.array([1]), MEANS[1] + d * direction) for d in (1e5, 2e5))
    assert far / near == pytest.approx(4.0, rel=1e-3)


@given(st.permutations(range(12)))
def test_an_atom_is_scored_whatever_its_neighbours_in_the_list(order: list[int]) -> None:
    density = LatentDensity(
        mixtures=(by_hand(), replace(by_hand(zero=3.0), elements=(6, 8), means=MEANS + 1.0))
    )
    atoms, numbers = drawn(12), np.array([1, 6, 8] * 4)
    scores = density.scores(numbers, atoms)
    np.testing.assert_allclose(
        density.scores(numbers[order], atoms[order]), scores[order], rtol=EXACT
    )


def test_many_atoms_are_scored_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    density, atoms = LatentDensity(mixtures=(by_hand(),)), drawn(25)
    whole = density.scores(hydrogens(atoms), atoms)
    monkeypatch.setattr(latent_density, "ATOMS_AT_ONCE", 10)
    np.testing.assert_allclose(density.scores(hydrogens(atoms), atoms), whole, rtol=EXACT)


def test_a_fit_finds_the_mixture_that_the_atoms_come_from() -> None:
    atoms = drawn(4000)
    (mixture,) = fit_latent_density(hydrogens(atoms), atoms, elements=(1,)).mixtures
    assert len(mixture.means) == 2
    others = drawn(4000, seed=1)
    excess = mixture.negative_log_density(others) - mixture_density(others)
    # The expected excess is the number of fitted numbers, 19, over twice the number of atoms.
    assert float(excess.mean()) == pytest.approx(19 / 8000, abs=4 * excess.std() / np.sqrt(4000))
    assert mixture.zero == mixture.negative_log_density(atoms).min()


def test_the_same_atoms_give_the_same_density_bit_by_bit() -> None:
    atoms = drawn(500)
    one, other = (
        fit_latent_density(hydrogens(atoms), atoms, elements=(1,)).mixtures[0] for _ in range(2)
    )
    for field in ("log_weights", "means", "whitening", "zero"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


def test_the_density_does_not_depend_on_the_unit_of_a_feature() -> None:
    atoms, units = drawn(1000), np.array([0.1, 1.0, 10.0])
    plain, scaled = (
        fit_latent_density(hydrogens(a), a, elements=(1,)) for a in (atoms, atoms * units)
    )
    others = drawn(100, seed=1)
    np.testing.assert_allclose(
        scaled.scores(hydrogens(others), others * units),
        plain.scores(hydrogens(others), others),
        rtol=1e-6,
    )


def test_elements_with_few_atoms_share_a_mixture() -> None:
    numbers = np.array([1] * 200 + [6] * 29 + [8] * 3)
    density = fit_latent_density(numbers, drawn(232), elements=(1, 6, 8))
    assert [mixture.elements for mixture in density.mixtures] == [(1,), (6, 8)]
    assert density.elements == (1, 6, 8)


def test_an_element_without_atoms_is_refused() -> None:
    with pytest.raises(ValueError, match=r"elements \(6,\) have 0 training atoms"):
        fit_latent_density(hydrogens(drawn(200)), drawn(200), elements=(1, 6))


def test_a_feature_that_was_constant_does_not_decide_alone() -> None:
    atoms = drawn(500)
    atoms[:, 2] = 5.0
    density = fit_latent_density(hydrogens(atoms), atoms, elements=(1,))
    smallest = latent_fitting.SMALLEST_SPREAD * atoms.std(axis=0).max()
    nudged = atoms[:1] + np.array([0.0, 0.0, 0.1 * smallest])
    moved = density.scores(np.array([1]), nudged) - density.scores(np.array([1]), atoms[:1])
    # A tenth of the smallest spread, where the regularisation is the variance; the floor may
    # hide one nat.
    expected = 0.5 * 0.1**2 / latent_fitting.REGULARISATION
    assert float(moved[0]) == pytest.approx(expected, abs=1.0 + FLOOR)


def test_structures_are_scored_by_their_strangest_atom_or_by_all() -> None:
    scores, n_atoms = np.array([1.0, 5.0, 2.0, 3.0, 4.0]), np.array([2, 3])
    np.testing.assert_array_equal(score_of_structures(scores, n_atoms, by="max"), [5.0, 4.0])
    np.testing.assert_array_equal(score_of_structures(scores, n_atoms, by="mean"), [3.0, 3.0])


def test_slopes_are_those_of_the_score_and_vanish_at_the_floor() -> None:
    atoms, step = drawn(50), 1e-5
    density = LatentDensity(mixtures=(by_hand(zero=float(mixture_density(atoms).mean())),))
    slopes = density.slopes(hydrogens(atoms), atoms)
    differences = [
        (
            density.scores(hydrogens(atoms), atoms + step * axis)
            - density.scores(hydrogens(atoms), atoms - step * axis)
        )
        / (2.0 * step)
        for axis in np.eye(3)
    ]
    np.testing.assert_allclose(slopes, np.stack(differences, axis=1), rtol=1e-6, atol=1e-6)
    floored = density.scores(hydrogens(atoms), atoms) == FLOOR
    assert 0 < floored.sum() < len(atoms)
    np.testing.assert_array_equal(slopes[floored], 0.0)
