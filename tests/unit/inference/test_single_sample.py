"""A bank of one sample is answered like any other, with what its method calls epistemic."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from posterion.errors import InvalidRequest
from posterion.graph.batch import build_graph, collate
from posterion.inference.bank import VectorizedEngine
from posterion.inference.loading import SampleBank
from posterion.inference.predictor import Predictor
from posterion.inference.reduction import Reduction
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.prediction import Prediction
from posterion.uncertainty.calibration import LatentForce
from posterion.uncertainty.latent_force import latent_force_std
from tests.support.banks import NETWORK, ethanol, network_function, random_bank, thermal_ethanol
from tests.support.predictions import moved, predicted, uncertainty

EXACT = 1e-12
RULE = LatentForce(scale=0.03)


@pytest.fixture(scope="module")
def single() -> SampleBank:
    return random_bank(n_samples=1, with_latent_density=True)


def test_an_epistemic_part_of_zero_by_definition_is_answered_as_zero(single: SampleBank) -> None:
    (prediction,) = predicted(Predictor(single), [ethanol(0.05)], EvaluationOptions())
    found = uncertainty(prediction)
    assert found.energy_epistemic == 0.0
    assert found.forces_max == 0.0
    assert found.energy_aleatoric > 0.0
    np.testing.assert_array_equal(
        found.forces_total, np.repeat(found.forces_aleatoric, 3).reshape(-1, 3)
    )


def test_a_single_sample_may_be_asked_for_by_number(single: SampleBank) -> None:
    options = EvaluationOptions(n_samples=1)
    assert predicted(Predictor(single), [ethanol()], options)[0].uncertainty is not None
    several = Predictor(random_bank(n_samples=2))
    with pytest.raises(InvalidRequest, match="expected 2 to 2 samples"):
        several.predict([ethanol()], options)


def test_a_bank_of_one_sample_is_flagged_by_its_latent_density(single: SampleBank) -> None:
    positions = ethanol().positions.copy()
    positions[6] += 0.8 * (positions[6] - positions[0])
    rest, stretched = predicted(
        Predictor(single), [ethanol(), moved(ethanol(), positions)], EvaluationOptions()
    )
    assert rest.flags == ()
    (flag,) = [flag for flag in stretched.flags if flag.code == "latent-density-low"]
    assert flag.value > flag.threshold
    assert 6 in flag.atoms


def test_one_of_several_samples_is_flagged_by_the_density_all_the_same() -> None:
    predictor = Predictor(random_bank(n_samples=2, with_latent_density=True))
    positions = ethanol().positions.copy()
    positions[6] += 0.8 * (positions[6] - positions[0])
    options = EvaluationOptions(n_samples=1, uncertainty=False)
    (prediction,) = predicted(predictor, [moved(ethanol(), positions)], options)
    assert "latent-density-low" in {flag.code for flag in prediction.flags}


def test_a_scaled_score_is_the_epistemic_part(single: SampleBank) -> None:
    assert single.latent_density is not None
    calibration = single.calibration.model_copy(update={"latent_force": RULE})
    bank = replace(single, calibration=calibration)
    structures = thermal_ethanol(2)
    for structure, prediction in zip(
        structures, predicted(Predictor(bank), structures, EvaluationOptions()), strict=True
    ):
        batch = collate([build_graph(structure, NETWORK.cutoff)], dtype=torch.float32, device="cpu")
        engine = VectorizedEngine(network_function(torch.float32), bank.parameters)
        latent = engine.evaluate(batch, n_samples=1, stress=False).latent[0].double().numpy()
        scores = single.latent_density.scores(structure.atomic_numbers, latent)
        factor = calibration.for_samples(1).forces.factor
        np.testing.assert_allclose(
            uncertainty(prediction).forces_per_atom,
            factor * latent_force_std(scores, RULE),
            rtol=1e-4,
        )


def test_what_a_sample_itself_admits_is_epistemic(single: SampleBank) -> None:
    graph = build_graph(ethanol(0.05), NETWORK.cutoff)
    engine = VectorizedEngine(network_function(torch.float32), single.parameters)
    batch = collate([graph], dtype=engine.dtype, device=engine.device)
    own = torch.linspace(0.1, 0.9, graph.n_atoms)[None]
    outputs = engine.evaluate(batch, n_samples=None, stress=False)._replace(force_epistemic_std=own)
    reduction = Reduction(calibration=single.calibration, domain=single.domain)
    (prediction,) = reduction.reduce(outputs, [graph], EvaluationOptions())
    assert isinstance(prediction, Prediction)
    assert prediction.uncertainty is not None
    factor = single.calibration.for_samples(1).forces.factor
    np.testing.assert_allclose(
        prediction.uncertainty.forces_per_atom, factor * own[0].double().numpy(), rtol=EXACT
    )
