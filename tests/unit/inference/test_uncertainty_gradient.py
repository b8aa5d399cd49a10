"""The gradient of a measure of uncertainty is its derivative, for whatever makes the measure."""

from dataclasses import replace
from typing import Final, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from posterion.errors import InvalidRequest, NonFiniteResult
from posterion.graph.batch import collate
from posterion.inference import edge_slopes
from posterion.inference.bank import ReferenceEngine
from posterion.inference.loading import SampleBank
from posterion.inference.predictor import Predictor
from posterion.inference.reduction import Reduction
from posterion.inference.uncertainty_gradient import UncertaintyGradients, with_gradients
from posterion.network.functional import NetworkFunction
from posterion.structures.evaluation import EvaluationOptions, GradientScalar, Precision
from posterion.structures.prediction import Prediction
from posterion.structures.structure import Structure
from posterion.uncertainty.epistemic_scalars import SHARPNESS
from tests.support.banks import ethanol, random_bank, thermal_ethanol
from tests.support.gradients import BANKS, gradients, in_cell, slopes, warm
from tests.support.predictions import DOUBLE, SINGLE, crystal, moved, predicted, uncertainty
from tests.support.structures import rotation, transformed
from tests.support.tolerances import ROUNDING, SINGLE_PRECISION

FloatArray = NDArray[np.float64]

SCALARS: Final = get_args(GradientScalar)
FORCE_SCALARS: Final = ("force_epistemic_rms", "force_epistemic_max_smooth")
RELATIVE: Final = 1e-6
"""Of the largest component; see `tests.support.gradients`."""


@pytest.fixture(scope="module", params=BANKS)
def any_predictor(request: pytest.FixtureRequest) -> Predictor:
    return Predictor(BANKS[request.param]())


@pytest.fixture(scope="module")
def dense() -> Predictor:
    """A bank with a latent density, all of whose scalars there are."""
    return Predictor(random_bank(with_latent_density=True))


def options_of(scalar: GradientScalar, precision: Precision = "float64") -> EvaluationOptions:
    return EvaluationOptions(precision=precision, gradient_of=scalar)


def assert_close(found: FloatArray | None, expected: FloatArray, relative: float) -> None:
    assert found is not None
    scale = np.abs(expected).max()
    assert scale > 0.0
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=relative * scale)


@pytest.mark.parametrize("scalar", SCALARS)
@pytest.mark.parametrize("structure", [warm(), crystal()], ids=["molecule", "crystal"])
def test_the_gradient_is_the_slope_of_the_value(
    any_predictor: Predictor, structure: Structure, scalar: GradientScalar
) -> None:
    options = options_of(scalar)
    (found,) = gradients(any_predictor, [structure], options)
    expected = slopes(
        any_predictor,
        options,
        lambda step: moved(structure, structure.positions + step),
        structure.positions.shape,
    )
    assert_close(found.positions, expected, RELATIVE)
    if structure.cell is None:
        assert found.cell is None
    else:
        by_cell = slopes(any_predictor, options, lambda step: in_cell(structure, step), (3, 3))
        assert_close(found.cell, by_cell, RELATIVE)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_value_is_that_of_the_prediction(
    any_predictor: Predictor, precision: Precision
) -> None:
    for scalar in SCALARS:
        options = options_of(scalar, precision)
        plain = predicted(any_predictor, [warm()], replace(options, gradient_of=None))[0]
        (prediction,) = predicted(any_predictor, [warm()], options)
        found, spread = prediction.uncertainty_gradient, uncertainty(plain)
        assert plain.uncertainty_gradient is None
        assert found is not None
        np.testing.assert_array_equal(prediction.forces, plain.forces)
        if scalar == "force_epistemic_rms":
            assert (found.value, found.unit) == (spread.forces_rms, "eV/angstrom")
        elif scalar == "energy_epistemic":
            assert (found.value, found.unit) == (spread.energy_epistemic, "eV")
        elif scalar == "force_epistemic_max_smooth":
            most = spread.forces_max * len(plain.forces) ** (1.0 / SHARPNESS)
            assert spread.forces_max < found.value < most
            assert found.unit == "eV/angstrom"


def test_the_latent_score_is_the_one_that_is_flagged(dense: Predictor) -> None:
    far = moved(warm(), 1.3 * warm().positions)
    (prediction,) = predicted(dense, [far], options_of("latent_score"))
    (flag,) = [flag for flag in prediction.flags if flag.code == "latent-density-low"]
    assert prediction.uncertainty_gradient is not None
    assert prediction.uncertainty_gradient.value == flag.value
    assert prediction.uncertainty_gradient.unit == flag.unit == "nat"


@pytest.mark.parametrize("scalar", SCALARS)
def test_a_shift_changes_nothing_and_a_turn_turns_the_gradient(
    dense: Predictor, scalar: GradientScalar
) -> None:
    options, turn = options_of(scalar), rotation(4)
    for structure in (warm(), crystal()):
        turned = transformed(structure, turn)
        here, there = gradients(dense, [structure, moved(turned, turned.positions + 7.0)], options)
        assert there.value == pytest.approx(here.value, rel=RELATIVE)
        scale = np.abs(here.positions).max()
        np.testing.assert_allclose(here.positions.sum(axis=0), 0.0, atol=ROUNDING * scale)
        assert_close(there.positions, here.positions @ turn.T, RELATIVE)
        if here.cell is not None:
            assert_close(there.cell, here.cell @ turn.T, RELATIVE)


@pytest.mark.parametrize("scalar", SCALARS)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_structures_of_a_batch_have_gradients_of_their_own(
    dense: Predictor, scalar: GradientScalar, precision: Precision
) -> None:
    options = options_of(scalar, precision)
    structures = [*thermal_ethanol(2), crystal(), ethanol()]
    relative = RELATIVE if precision == "float64" else SINGLE_PRECISION
    for structure, together in zip(structures, gradients(dense, structures, options), strict=True):
        (alone,) = gradients(dense, [structure], options)
        assert_close(together.positions, alone.positions, relative)
        assert (together.cell is None) == (structure.cell is None)
        if alone.cell is not None:
            assert_close(together.cell, alone.cell, relative)


@pytest.mark.parametrize("scalar", SCALARS)
def test_single_precision_is_near_the_reference(
    any_predictor: Predictor, scalar: GradientScalar
) -> None:
    single, double = (
        gradients(any_predictor, [crystal()], options_of(scalar, precision))[0]
        for precision in ("float32", "float64")
    )
    assert double.cell is not None
    assert_close(single.positions, double.positions, SINGLE_PRECISION)
    assert_close(single.cell, double.cell, SINGLE_PRECISION)


@pytest.mark.parametrize("scalar", FORCE_SCALARS)
def test_a_pass_may_be_split_over_the_samples(
    any_predictor: Predictor, scalar: GradientScalar, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = options_of(scalar)
    (whole,) = gradients(any_predictor, [warm()], options)
    monkeypatch.setattr(edge_slopes, "memory_budget", lambda device: 1)
    (split,) = gradients(any_predictor, [warm()], options)
    assert_close(split.positions, whole.positions, ROUNDING)


def test_fewer_samples_have_a_spread_of_their_own(dense: Predictor) -> None:
    options = replace(options_of("force_epistemic_rms"), n_samples=2)
    (found,) = gradients(dense, [warm()], options)
    (plain,) = predicted(dense, [warm()], replace(DOUBLE, n_samples=2))
    assert found.value == uncertainty(plain).forces_rms
    (every,) = gradients(dense, [warm()], options_of("force_epistemic_rms"))
    assert np.abs(found.positions - every.positions).max() > 1e-3


def test_the_spread_need_not_be_answered_to_be_differentiated(dense: Predictor) -> None:
    options = replace(options_of("energy_epistemic"), uncertainty=False)
    (prediction,) = predicted(dense, [crystal()], options)
    assert prediction.uncertainty is None
    assert prediction.stress is None
    assert prediction.uncertainty_gradient is not None
    assert prediction.uncertainty_gradient.cell is not None


@pytest.mark.parametrize("scalar", SCALARS)
def test_only_full_periodicity_has_a_gradient_by_the_cell(
    dense: Predictor, scalar: GradientScalar
) -> None:
    slab = replace(crystal(), pbc=(True, True, False))
    assert gradients(dense, [slab], options_of(scalar))[0].cell is None


@pytest.mark.parametrize("scalar", SCALARS)
def test_an_atom_that_feels_nobody_has_no_gradient(
    dense: Predictor, scalar: GradientScalar
) -> None:
    atom = Structure(atomic_numbers=np.array([8]), positions=np.zeros((1, 3)))
    (found,) = gradients(dense, [atom], options_of(scalar))
    np.testing.assert_array_equal(found.positions, np.zeros((1, 3)))


def test_a_sample_that_agrees_with_itself_has_a_gradient_of_zero() -> None:
    single = Predictor(random_bank(n_samples=1, with_latent_density=True))
    for scalar in ("energy_epistemic", *FORCE_SCALARS):
        (found,) = gradients(single, [warm()], EvaluationOptions(gradient_of=scalar))
        assert found.value == 0.0
        np.testing.assert_array_equal(found.positions, np.zeros((9, 3)))


@pytest.mark.parametrize(
    ("changes", "pointer", "said"),
    [
        ({"gradient_of": "latent_score"}, "/uncertainty/gradient_of", "no latent density"),
        ({"adaptive": True}, "/n_samples", "expected a number of samples"),
        ({"n_samples": 1, "uncertainty": False}, "/n_samples", "expected 2 to 4 samples"),
    ],
)
def test_what_cannot_be_differentiated_is_refused(
    predictor: Predictor, changes: dict[str, object], pointer: str, said: str
) -> None:
    options = replace(SINGLE, **{"gradient_of": "force_epistemic_rms", **changes})  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match=said) as caught:
        predictor.n_samples_used(options)
    assert [fault.pointer for fault in caught.value.faults] == [pointer]


def test_a_latent_score_needs_one_sample(dense: Predictor) -> None:
    options = replace(options_of("latent_score"), n_samples=1, uncertainty=False)
    (one,) = gradients(dense, [warm()], options)
    (every,) = gradients(dense, [warm()], options_of("latent_score"))
    assert_close(one.positions, every.positions, ROUNDING)


def test_what_is_not_finite_leaves_its_neighbours_alone(
    bank: SampleBank, predictor: Predictor
) -> None:
    options = options_of("force_epistemic_max_smooth")
    structures = thermal_ethanol(2)
    graphs = [predictor.prepare(structure) for structure in structures]
    function = NetworkFunction(bank.config, bank.reference, dtype=torch.float64, device="cpu")
    engine, reduction = ReferenceEngine(function, bank.parameters), Reduction.of(bank)
    batch = collate(graphs, dtype=engine.dtype, device="cpu")
    outputs = engine.evaluate(batch, n_samples=None, stress=False)
    outputs.forces[1, 4] = np.nan
    found = UncertaintyGradients(bank, reduction, engine).of(outputs, graphs, options)
    broken, whole = with_gradients(reduction.reduce(outputs, graphs, options), found)
    assert isinstance(broken, NonFiniteResult)
    assert isinstance(whole, Prediction)
    assert whole.uncertainty_gradient is not None
    (alone,) = gradients(predictor, structures[1:], options)
    assert_close(whole.uncertainty_gradient.positions, alone.positions, ROUNDING)
