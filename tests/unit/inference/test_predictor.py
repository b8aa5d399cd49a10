"""The answer is one physical function of the structure, and its spread is calibrated."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from posterion.errors import (
    InvalidRequest,
    StructureTooLarge,
    UnsupportedElement,
    UnsupportedProperty,
)
from posterion.inference import predictor as predictor_module
from posterion.inference.engine_choice import TOLERANCE
from posterion.inference.loading import SampleBank
from posterion.inference.predictor import EngineReport, Predictor
from posterion.inference.structure_checks import StructureLimits
from posterion.structures.evaluation import EvaluationOptions, Precision
from posterion.structures.prediction import Prediction
from posterion.structures.structure import Structure
from tests.support.banks import ethanol, thermal_ethanol
from tests.support.predictions import (
    BATCH_TOLERANCE,
    DOUBLE,
    SINGLE,
    crystal,
    moved,
    predicted,
    uncertainty,
)

# Single precision against double, eV/Angstrom.
FLOAT32_FORCES = 1e-5
EXACT = 1e-12


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_structure_is_answered_alike_in_any_batch(
    predictor: Predictor, precision: Precision
) -> None:
    options = EvaluationOptions(precision=precision, stress=True)
    structures = [*thermal_ethanol(7), crystal()]
    together = predicted(predictor, structures, options)
    reversed_ = predicted(predictor, structures[::-1], options)[::-1]
    tolerance = BATCH_TOLERANCE[precision]
    for structure, one, other in zip(structures, together, reversed_, strict=True):
        (alone,) = predicted(predictor, [structure], options)
        for again in (other, alone):
            np.testing.assert_allclose(again.forces, one.forces, atol=tolerance, rtol=0)
            assert again.energy == pytest.approx(one.energy, abs=tolerance)
            np.testing.assert_allclose(
                uncertainty(again).forces_epistemic,
                uncertainty(one).forces_epistemic,
                atol=tolerance,
                rtol=0,
            )


def test_single_precision_agrees_with_the_reference(predictor: Predictor) -> None:
    structures = thermal_ethanol(4)
    for fast, slow in zip(
        predicted(predictor, structures, SINGLE), predicted(predictor, structures), strict=True
    ):
        np.testing.assert_allclose(fast.forces, slow.forces, atol=FLOAT32_FORCES, rtol=0)
        np.testing.assert_allclose(
            uncertainty(fast).forces_total,
            uncertainty(slow).forces_total,
            atol=FLOAT32_FORCES,
            rtol=0,
        )


def test_uncertainty_is_the_spread_of_the_samples_times_its_factor(predictor: Predictor) -> None:
    (prediction,) = predicted(predictor, [ethanol(0.05)], replace(DOUBLE, samples="full"))
    found = uncertainty(prediction)
    assert found.samples is not None
    assert found.samples.forces is not None
    factors = predictor.bank.calibration.for_samples(predictor.n_samples)
    np.testing.assert_allclose(
        found.forces_epistemic,
        factors.forces.factor * found.samples.forces.std(axis=0, ddof=1),
        atol=EXACT,
    )
    assert found.energy_epistemic == pytest.approx(
        factors.energy.factor * found.samples.energies.std(ddof=1)
    )
    np.testing.assert_allclose(prediction.forces, found.samples.forces.mean(axis=0), atol=EXACT)
    assert prediction.energy == pytest.approx(found.samples.energies.mean(), rel=EXACT)
    np.testing.assert_allclose(
        found.forces_total**2,
        found.forces_epistemic**2 + found.forces_aleatoric[:, None] ** 2,
        atol=EXACT,
    )
    assert found.calibrated


def test_fewer_samples_use_the_factor_fitted_for_them(predictor: Predictor) -> None:
    options = EvaluationOptions(precision="float64", n_samples=2, samples="full")
    (prediction,) = predicted(predictor, [ethanol(0.05)], options)
    found = uncertainty(prediction)
    assert found.samples is not None
    assert found.samples.forces is not None
    assert len(found.samples.energies) == 2
    factor = predictor.bank.calibration.for_samples(2).forces.factor
    assert factor != predictor.bank.calibration.for_samples(4).forces.factor
    np.testing.assert_allclose(
        found.forces_epistemic, factor * found.samples.forces.std(axis=0, ddof=1), atol=EXACT
    )


@pytest.mark.parametrize("detail", ["none", "energy"])
def test_samples_come_only_as_asked(predictor: Predictor, detail: str) -> None:
    options = EvaluationOptions(samples="energy" if detail == "energy" else "none")
    (prediction,) = predicted(predictor, [ethanol()], options)
    samples = uncertainty(prediction).samples
    if detail == "none":
        assert samples is None
    else:
        assert samples is not None
        assert (samples.energies.shape, samples.forces, samples.stress) == ((4,), None, None)


def test_stress_is_given_to_fully_periodic_structures_alone(predictor: Predictor) -> None:
    slab = replace(crystal(), pbc=(True, True, False))
    options = EvaluationOptions(stress=True)
    stresses = [one.stress for one in predicted(predictor, [ethanol(), crystal(), slab], options)]
    assert stresses[0] is None
    assert stresses[1] is not None
    assert stresses[2] is None
    assert predicted(predictor, [crystal()], SINGLE)[0].stress is None


def test_structures_like_those_of_training_are_not_flagged(predictor: Predictor) -> None:
    flags = [one.flags for one in predicted(predictor, thermal_ethanol(20, seed=50), SINGLE)]
    # Two metrics at a flag level of 0.975: one flagged frame of the 20 is expected at most.
    assert sum(bool(each) for each in flags) <= 2


def test_rules_on_the_structure_hold_without_uncertainty(predictor: Predictor) -> None:
    positions = ethanol().positions.copy()
    positions[3] += np.array([-50.0, 0.0, 0.0])
    options = EvaluationOptions(uncertainty=False)
    (prediction,) = predicted(predictor, [moved(ethanol(), positions)], options)
    assert prediction.uncertainty is None
    assert [flag.code for flag in prediction.flags] == ["isolated-atom"]


def test_errors_are_values_beside_their_neighbours(predictor: Predictor) -> None:
    chlorine = Structure(
        atomic_numbers=np.array([6, 17, 17, 9]),
        positions=np.array([[0.0, 0, 0], [1.7, 0, 0], [0, 1.7, 0], [0, 0, 1.4]]),
    )
    charged = replace(ethanol(), charge=1, spin_multiplicity=2)
    good, unknown, ion, last = predictor.predict(
        [ethanol(), chlorine, charged, ethanol(0.05)], SINGLE
    )
    assert isinstance(good, Prediction)
    assert isinstance(last, Prediction)
    assert isinstance(unknown, UnsupportedElement)
    assert [fault.pointer for fault in unknown.faults] == ["/numbers/3", "/numbers/1"]
    assert isinstance(ion, UnsupportedProperty)
    assert [fault.pointer for fault in ion.faults] == ["/charge", "/spin_multiplicity"]


def test_large_structures_are_refused_by_their_number(bank: SampleBank) -> None:
    strict = Predictor(bank, limits=StructureLimits(n_atoms=9, n_edges=71))
    with pytest.raises(StructureTooLarge, match="at most 71 edges, got 72"):
        strict.prepare(ethanol())
    two = Structure(
        atomic_numbers=np.tile(ethanol().atomic_numbers, 2),
        positions=np.concatenate([ethanol().positions, ethanol().positions + 20.0]),
    )
    with pytest.raises(StructureTooLarge, match="at most 9 atoms, got 18"):
        strict.prepare(two)


@pytest.mark.parametrize(
    ("n_samples", "with_uncertainty", "fewest"), [(5, True, 2), (0, False, 1), (1, True, 2)]
)
def test_a_number_of_samples_the_bank_cannot_serve_is_refused(
    predictor: Predictor, n_samples: int, with_uncertainty: bool, fewest: int
) -> None:
    options = EvaluationOptions(n_samples=n_samples, uncertainty=with_uncertainty)
    with pytest.raises(InvalidRequest, match=f"expected {fewest} to 4 samples") as caught:
        predictor.n_samples_used(options)
    assert caught.value.faults[0].pointer == "/n_samples"


def test_one_sample_answers_without_uncertainty(predictor: Predictor) -> None:
    options = EvaluationOptions(precision="float64", n_samples=1, uncertainty=False)
    (one,) = predicted(predictor, [ethanol()], options)
    (every,) = predicted(predictor, [ethanol()], replace(DOUBLE, samples="full"))
    samples = uncertainty(every).samples
    assert samples is not None
    assert one.energy == pytest.approx(samples.energies[0], rel=EXACT)
    assert predictor.n_samples_used(options) == 1


def test_identity_and_engines_are_those_of_the_bank(predictor: Predictor, bank: SampleBank) -> None:
    assert (predictor.name, predictor.digest) == ("ethanol", bank.digest)
    assert predictor.engine(SINGLE).name == "fused"
    assert 0.0 < predictor.engine(SINGLE).deviation < TOLERANCE
    assert predictor.engine(DOUBLE) == EngineReport(name="reference", deviation=0.0)
    assert predictor.n_samples_used(SINGLE) == 4


def test_an_empty_batch_has_no_results(predictor: Predictor) -> None:
    assert predictor.evaluate([], SINGLE) == []


def test_many_structures_are_evaluated_in_bounded_batches(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    structures = thermal_ethanol(5)
    whole = predicted(predictor, structures)
    monkeypatch.setattr(predictor_module, "EDGES_PER_BATCH", 150)  # two ethanols of 72 edges
    parts = predicted(predictor, structures)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(
            other.forces, one.forces, atol=BATCH_TOLERANCE["float64"], rtol=0
        )


def test_threads_get_the_answers_to_their_own_questions(predictor: Predictor) -> None:
    structures = thermal_ethanol(8)
    expected = [one.energy for one in predicted(predictor, structures, SINGLE)]
    found: list[float] = [0.0] * len(structures)

    def ask(index: int) -> None:
        (prediction,) = predicted(predictor, [structures[index]], SINGLE)
        found[index] = prediction.energy

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(structures))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(found, expected, atol=BATCH_TOLERANCE["float32"], rtol=0)
