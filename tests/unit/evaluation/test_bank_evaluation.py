"""A bank is asked about every frame it knows; the others are named with their reason."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from posterion.errors import ConfigurationError, DatasetError
from posterion.evaluation.bank_evaluation import FRAMES_AT_ONCE, Evaluated, evaluate_frames
from posterion.evaluation.scores import judge
from posterion.graph.batch import GraphBatch
from posterion.inference.bank import BankEngine, VectorizedEngine
from posterion.inference.held_out_frames import evaluate_held_out
from posterion.inference.loading import SampleBank
from posterion.inference.predictor import Predictor
from posterion.network.functional import NetworkOutputs
from posterion.structures.ase_io import LabelledFrame
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.prediction import Prediction
from posterion.uncertainty.calibration import LatentForce
from tests.support.banks import NETWORK, network_function, random_bank
from tests.support.labelled import drawn_frames, with_silicon
from tests.support.tolerances import SINGLE_PRECISION

N_FRAMES = FRAMES_AT_ONCE + 5
MISSING = DatasetError("frame 3: no labels")


def assert_alike(found: NDArray[np.float64], expected: NDArray[np.float64]) -> None:
    """Equal to single precision, measured by the range of the values."""
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=SINGLE_PRECISION * np.ptp(expected))


@pytest.fixture(scope="module")
def bank() -> SampleBank:
    return random_bank(with_latent_density=True)


@pytest.fixture(scope="module")
def engine(bank: SampleBank) -> VectorizedEngine:
    return VectorizedEngine(network_function(torch.float32), bank.parameters)


@pytest.fixture(scope="module")
def frames() -> list[LabelledFrame]:
    return drawn_frames(N_FRAMES)


@pytest.fixture(scope="module")
def evaluated(bank: SampleBank, engine: VectorizedEngine, frames: list[LabelledFrame]) -> Evaluated:
    return evaluate_frames(bank, engine, frames)


def test_answers_are_those_of_the_bank(
    evaluated: Evaluated,
    bank: SampleBank,
    engine: VectorizedEngine,
    frames: list[LabelledFrame],
) -> None:
    expected = evaluate_held_out(
        engine, frames, cutoff=NETWORK.cutoff, latent_density=bank.latent_density
    )
    fields = ("energies", "forces", "force_std", "energy_reference", "force_reference")
    for field in (*fields, "latent_scores"):
        assert_alike(getattr(evaluated.held_out, field), getattr(expected, field))
    predictions = Predictor(bank).predict([f.structure for f in frames], EvaluationOptions())
    codes = []
    for prediction in predictions:
        assert isinstance(prediction, Prediction)
        codes.append([flag.code for flag in prediction.flags])
    assert [[flag.code for flag in flags] for flags in evaluated.flags] == codes
    assert evaluated.refused == ()


def test_the_first_samples_are_those_of_the_whole_bank(
    evaluated: Evaluated,
    bank: SampleBank,
    engine: VectorizedEngine,
    frames: list[LabelledFrame],
) -> None:
    two = evaluate_frames(bank, engine, frames, n_samples=2).held_out
    assert two.n_samples == 2
    assert_alike(two.forces, evaluated.held_out.forces[:2])


def test_frames_that_cannot_be_judged_are_named_and_spoil_no_other(
    evaluated: Evaluated,
    bank: SampleBank,
    engine: VectorizedEngine,
    frames: list[LabelledFrame],
) -> None:
    mixed: list[LabelledFrame | DatasetError] = [*frames[:3], MISSING, *frames[4:]]
    mixed[1] = with_silicon(frames[1])
    dealt_with: list[int] = []
    found = evaluate_frames(bank, engine, mixed, on_progress=dealt_with.append)
    assert [(one.frame, one.code) for one in found.refused] == [
        (1, "unsupported-element"),
        (3, "invalid-dataset"),
    ]
    assert "[1, 6, 8], the frame also has [14]" in found.refused[0].detail
    kept = np.delete(np.arange(N_FRAMES), [1, 3])
    np.testing.assert_array_equal(
        found.held_out.energy_reference, evaluated.held_out.energy_reference[kept]
    )
    assert_alike(found.held_out.energies, evaluated.held_out.energies[:, kept])
    assert found.n_frames == len(found.flags) == N_FRAMES - 2
    assert sum(dealt_with) == N_FRAMES


class Failing:
    """An engine that answers NaN for the energy of structures below a number of edges."""

    def __init__(self, engine: BankEngine, *, below: int) -> None:
        self._engine = engine
        self._below = below
        self.name, self.n_samples = engine.name, engine.n_samples
        self.dtype, self.device = engine.dtype, engine.device

    def evaluate(
        self, batch: GraphBatch, *, n_samples: int | None, stress: bool, first: int = 0
    ) -> NetworkOutputs:
        outputs = self._engine.evaluate(batch, n_samples=n_samples, stress=stress, first=first)
        edges = torch.bincount(
            batch.structure_index[batch.edge_index[0]], minlength=batch.n_structures
        )
        energy = outputs.energy.clone()
        energy[:, edges < self._below] = torch.nan
        return outputs._replace(energy=energy)


def test_a_frame_without_a_finite_answer_is_named(
    bank: SampleBank, engine: VectorizedEngine, frames: list[LabelledFrame]
) -> None:
    apart = LabelledFrame(
        structure=frames[0].structure.__class__(
            atomic_numbers=frames[0].structure.atomic_numbers,
            positions=3.0 * frames[0].structure.positions,
        ),
        energy=0.0,
        forces=frames[0].forces,
    )
    few = [frames[0], apart, frames[1]]
    found = evaluate_frames(bank, Failing(engine, below=40), few)
    assert [(one.frame, one.code) for one in found.refused] == [(1, "non-finite-result")]
    assert found.n_frames == 2
    assert np.isfinite(found.held_out.energies).all()


def test_a_file_of_which_nothing_can_be_judged_is_an_error(
    bank: SampleBank, engine: VectorizedEngine, frames: list[LabelledFrame]
) -> None:
    with pytest.raises(DatasetError, match="judge none of 3 frames: 2 x unsupported-element"):
        evaluate_frames(bank, engine, [with_silicon(f) for f in frames[:2]] + [MISSING])


def test_a_number_of_samples_without_calibration_is_refused(
    bank: SampleBank, engine: VectorizedEngine, frames: list[LabelledFrame]
) -> None:
    with pytest.raises(ConfigurationError, match=r"bank ethanol: .* got 5"):
        evaluate_frames(bank, engine, frames, n_samples=5)


def test_a_scaled_latent_score_is_the_epistemic_part_of_one_sample(
    frames: list[LabelledFrame],
) -> None:
    """The uncertainty that is scored is the one that is served."""
    single = random_bank(n_samples=1, with_latent_density=True)
    calibration = single.calibration.model_copy(update={"latent_force": LatentForce(scale=0.03)})
    bank = replace(single, calibration=calibration)
    engine = VectorizedEngine(network_function(torch.float32), bank.parameters)
    found = judge(evaluate_frames(bank, engine, frames[:3]), bank.calibration)
    served = []
    for prediction in Predictor(bank).predict(
        [frame.structure for frame in frames[:3]], EvaluationOptions()
    ):
        assert isinstance(prediction, Prediction)
        assert prediction.uncertainty is not None
        served.append(prediction.uncertainty.forces_epistemic.ravel())
    assert_alike(found.forces.epistemic, np.concatenate(served))
    assert found.latent is not None
    ratio = found.forces.epistemic / found.latent
    np.testing.assert_allclose(ratio, ratio[0], rtol=SINGLE_PRECISION)
