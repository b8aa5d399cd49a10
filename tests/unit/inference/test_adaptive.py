"""Few samples where they decide, all of them where they do not."""

from dataclasses import replace

import numpy as np
import pytest

from posterion.errors import PosterionError
from posterion.inference.adaptive import BAND, FIRST_RUNG, band, rungs
from posterion.inference.loading import SampleBank, load_bank
from posterion.inference.predictor import Predictor
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.prediction import Prediction
from posterion.structures.structure import Structure
from posterion_store import Store
from tests.support.banks import ethanol, publish_random_bank, thermal_ethanol

N_SAMPLES = 10
ADAPTIVE = EvaluationOptions(adaptive=True)
SAME = 1e-5


@pytest.fixture(scope="module")
def large() -> SampleBank:
    store = Store.open("memory://")
    publish_random_bank(store, n_samples=N_SAMPLES, with_latent_density=True)
    return load_bank(store, "ethanol")


def test_the_band_is_as_narrow_as_the_spread_is_known() -> None:
    """One and a bit standard errors of a standard deviation, whatever the number of samples."""
    assert band(FIRST_RUNG) == BAND
    for n_samples in (8, 16, 32):
        standard_error = 1.0 / np.sqrt(2.0 * (n_samples - 1))
        assert band(n_samples) / standard_error == pytest.approx(BAND * np.sqrt(6.0))


def with_threshold(bank: SampleBank, candidate: float) -> Predictor:
    """The bank with one threshold of the force spread, for every number of samples."""
    entries = []
    for entry in bank.calibration.entries:
        assert entry.force_epistemic_max is not None
        threshold = entry.force_epistemic_max.model_copy(
            update={"candidate": candidate, "failed": 100.0 * candidate}
        )
        entries.append(
            entry.model_copy(update={"force_epistemic_max": threshold, "energy_epistemic": None})
        )
    calibration = bank.calibration.model_copy(update={"entries": tuple(entries)})
    return Predictor(replace(bank, calibration=calibration))


def predicted(
    predictor: Predictor, structures: list[Structure], options: EvaluationOptions
) -> list[Prediction]:
    answers = predictor.predict(structures, options)
    for answer in answers:
        assert not isinstance(answer, PosterionError)
    return [answer for answer in answers if isinstance(answer, Prediction)]


@pytest.mark.parametrize(
    ("n_samples", "fewest", "expected"),
    [
        (1, 1, [1]),
        (4, 2, [4]),
        (3, 2, [3]),
        (10, 2, [4, 8, 10]),
        (32, 2, [4, 8, 16, 32]),
        (12, 6, [6, 12]),
    ],
)
def test_rungs_double_up_to_the_bank(n_samples: int, fewest: int, expected: list[int]) -> None:
    assert rungs(n_samples, fewest=fewest) == expected


@pytest.mark.parametrize("candidate", [1e-9, 1e9])
def test_four_samples_do_where_the_answer_is_clear(large: SampleBank, candidate: float) -> None:
    predictor = with_threshold(large, candidate)
    structures = thermal_ethanol(3)
    answers = predicted(predictor, structures, ADAPTIVE)
    assert [answer.n_samples for answer in answers] == [4, 4, 4]
    four = predicted(predictor, structures, EvaluationOptions(n_samples=4))
    for one, other in zip(answers, four, strict=True):
        np.testing.assert_allclose(one.forces, other.forces, atol=SAME)
        assert [flag.code for flag in one.flags] == [flag.code for flag in other.flags]


def test_all_samples_are_asked_where_it_is_not(large: SampleBank) -> None:
    (structure,) = thermal_ethanol(1)
    (plain,) = predicted(Predictor(large), [structure], EvaluationOptions())
    assert plain.uncertainty is not None
    predictor = with_threshold(large, plain.uncertainty.forces_max)
    (answer,) = predicted(predictor, [structure], ADAPTIVE)
    (every,) = predicted(predictor, [structure], EvaluationOptions())
    assert (answer.n_samples, every.n_samples) == (N_SAMPLES, N_SAMPLES)
    assert answer.uncertainty is not None
    assert every.uncertainty is not None
    assert answer.energy == pytest.approx(every.energy, abs=SAME)
    np.testing.assert_allclose(answer.forces, every.forces, atol=SAME)
    np.testing.assert_allclose(
        answer.uncertainty.forces_epistemic, every.uncertainty.forces_epistemic, atol=SAME
    )
    latent = [flag for flag in every.flags if flag.code == "latent-density-low"]
    assert [flag for flag in answer.flags if flag.code == "latent-density-low"] == latent


def test_structures_of_one_batch_stop_at_different_rungs(large: SampleBank) -> None:
    """Order is kept, and each is what it would be alone."""
    calm, wild = ethanol(), ethanol(0.4, seed=3)
    (answer,) = predicted(Predictor(large), [wild], EvaluationOptions())
    assert answer.uncertainty is not None
    predictor = with_threshold(large, answer.uncertainty.forces_max)
    (still,) = predicted(predictor, [calm], EvaluationOptions(n_samples=4))
    assert still.uncertainty is not None
    distance = abs(np.log(still.uncertainty.forces_max / answer.uncertainty.forces_max))
    assert distance > BAND, "choose a wilder structure"
    first, middle, last = predicted(predictor, [calm, wild, calm], ADAPTIVE)
    assert (first.n_samples, middle.n_samples, last.n_samples) == (4, N_SAMPLES, 4)
    assert first.energy == pytest.approx(still.energy, abs=SAME)
    assert middle.energy == pytest.approx(answer.energy, abs=SAME)
    assert last.energy == pytest.approx(first.energy, abs=SAME)


def test_float64_and_stress_work_alike(large: SampleBank) -> None:
    crystal = Structure(
        atomic_numbers=np.array([6, 8]),
        positions=np.array([[0.1, 0.0, 0.0], [1.5, 1.6, 1.4]]),
        cell=np.array([[3.1, 0.0, 0.0], [0.4, 3.0, 0.0], [0.0, 0.3, 3.2]]),
        pbc=(True, True, True),
    )
    (plain,) = predicted(Predictor(large), [crystal], EvaluationOptions(stress=True))
    assert plain.uncertainty is not None
    predictor = with_threshold(large, plain.uncertainty.forces_max)
    options = EvaluationOptions(adaptive=True, precision="float64", stress=True)
    (answer,) = predicted(predictor, [crystal], options)
    assert answer.n_samples == N_SAMPLES
    assert answer.stress is not None
    assert plain.stress is not None
    np.testing.assert_allclose(answer.stress, plain.stress, atol=SAME)


def test_a_score_between_the_thresholds_of_two_rungs_is_open(large: SampleBank) -> None:
    """The last number of samples decides, as it does without adaptivity."""
    (structure,) = thermal_ethanol(1)
    graph = Predictor(large).prepare(structure)
    assert large.latent_density is not None
    options = EvaluationOptions(adaptive=True)
    entries = []
    for entry in large.calibration.entries:
        assert entry.latent_score_max is not None
        bound = 1e9 if entry.n_samples == N_SAMPLES else 1e-9
        threshold = entry.latent_score_max.model_copy(update={"candidate": bound, "failed": 1e12})
        entries.append(
            entry.model_copy(
                update={
                    "latent_score_max": threshold,
                    "force_epistemic_max": None,
                    "energy_epistemic": None,
                }
            )
        )
    calibration = large.calibration.model_copy(update={"entries": tuple(entries)})
    predictor = Predictor(replace(large, calibration=calibration))
    (answer,) = predictor.evaluate([graph], options)
    assert isinstance(answer, Prediction)
    assert answer.n_samples == N_SAMPLES
    assert "latent-density-low" not in [flag.code for flag in answer.flags]
