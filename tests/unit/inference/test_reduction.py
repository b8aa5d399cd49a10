"""What the samples say becomes one answer, flagged where the calibration says so."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from posterion.errors import NonFiniteResult, PosterionError
from posterion.graph.batch import build_graph, collate
from posterion.inference.bank import VectorizedEngine
from posterion.inference.loading import SampleBank
from posterion.inference.reduction import Reduction
from posterion.network.functional import NetworkOutputs
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.prediction import Flag, FlagCode, Prediction
from posterion.structures.structure import Structure
from posterion.uncertainty.calibration import Calibration
from tests.support.banks import NETWORK, ethanol, network_function, thermal_ethanol

EXACT = 1e-12


@pytest.fixture(scope="module")
def engine(bank: SampleBank) -> VectorizedEngine:
    return VectorizedEngine(network_function(torch.float32), bank.parameters)


def untouched(outputs: NetworkOutputs) -> None:
    """Leave the outputs as they are."""


def reduced(
    structures: list[Structure],
    bank: SampleBank,
    engine: VectorizedEngine,
    *,
    calibration: Calibration,
    poison: Callable[[NetworkOutputs], None] = untouched,
) -> list[Prediction | PosterionError]:
    graphs = [build_graph(structure, NETWORK.cutoff) for structure in structures]
    batch = collate(graphs, dtype=engine.dtype, device=engine.device)
    outputs = engine.evaluate(batch, n_samples=None, stress=False)
    poison(outputs)
    options = EvaluationOptions()
    return Reduction(calibration=calibration, domain=bank.domain).reduce(outputs, graphs, options)


def flags(
    structure: Structure, bank: SampleBank, engine: VectorizedEngine, calibration: Calibration
) -> dict[FlagCode, Flag]:
    (prediction,) = reduced([structure], bank, engine, calibration=calibration)
    assert isinstance(prediction, Prediction)
    return {flag.code: flag for flag in prediction.flags}


def with_thresholds(bank: SampleBank, engine: VectorizedEngine, *, at: Structure) -> Calibration:
    """Thresholds by hand: candidate at exactly the spread of one structure, failed at twice."""
    (prediction,) = reduced([at], bank, engine, calibration=bank.calibration)
    assert isinstance(prediction, Prediction)
    assert prediction.uncertainty is not None
    force = prediction.uncertainty.forces_max
    # Per atom and back again may round upwards.
    energy = (1.0 + EXACT) * prediction.uncertainty.energy_epistemic / at.n_atoms
    document = bank.calibration.model_dump()
    for metric, candidate in (("force_epistemic_max", force), ("energy_epistemic", energy)):
        document["entries"][-1][metric] |= {"candidate": candidate, "failed": 2.0 * candidate}
    return Calibration.model_validate(document)


def ethanol_with(atom: int, position: NDArray[np.float64]) -> Structure:
    positions = ethanol().positions.copy()
    positions[atom] = position
    return Structure(atomic_numbers=ethanol().atomic_numbers, positions=positions)


def test_noise_carries_the_factor_of_its_quantity(
    bank: SampleBank, engine: VectorizedEngine
) -> None:
    document = bank.calibration.model_dump()
    document["entries"][-1]["forces"]["factor"] = 2.0
    document["entries"][-1]["energy"]["factor"] = 3.0
    calibration = Calibration.model_validate(document)
    said: list[NetworkOutputs] = []
    (prediction,) = reduced([ethanol()], bank, engine, calibration=calibration, poison=said.append)
    assert isinstance(prediction, Prediction)
    assert prediction.uncertainty is not None
    noise = said[0].force_std.double().square().mean(dim=0).sqrt().numpy()
    np.testing.assert_allclose(prediction.uncertainty.forces_aleatoric, 2.0 * noise, rtol=EXACT)
    assert prediction.uncertainty.energy_aleatoric == pytest.approx(
        3.0 * said[0].energy_std.item(), rel=EXACT
    )


def test_a_squeezed_bond_is_flagged_where_the_samples_disagree(
    bank: SampleBank, engine: VectorizedEngine
) -> None:
    calibration = with_thresholds(bank, engine, at=ethanol())
    assert flags(ethanol(), bank, engine, calibration) == {}
    rest = ethanol().positions
    squeezed = ethanol_with(6, rest[0] + 0.75 * (rest[6] - rest[0]))
    flag = flags(squeezed, bank, engine, calibration)["force-epistemic-high"]
    (prediction,) = reduced([squeezed], bank, engine, calibration=calibration)
    assert isinstance(prediction, Prediction)
    assert prediction.uncertainty is not None
    assert flag.value == prediction.uncertainty.forces_max
    assert flag.value > flag.threshold
    assert prediction.uncertainty.argmax_atom in flag.atoms
    assert flag.calibration_id == calibration.identity


def test_each_rule_on_the_structure_is_reported_with_the_answer(
    bank: SampleBank, engine: VectorizedEngine
) -> None:
    rest = ethanol().positions
    close = ethanol_with(3, rest[2] + 0.5 * (rest[3] - rest[2]))
    alone = ethanol_with(3, rest[3] - 50.0)
    water = Structure(
        atomic_numbers=np.array([8, 1, 1]),
        positions=np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]),
    )
    assert flags(close, bank, engine, bank.calibration)["close-contact"].severity == "failed"
    assert flags(alone, bank, engine, bank.calibration)["isolated-atom"].atoms == (3,)
    assert flags(water, bank, engine, bank.calibration)["composition-unseen"].value > 0


def test_no_code_is_reported_twice(bank: SampleBank, engine: VectorizedEngine) -> None:
    rest = ethanol().positions
    broken = ethanol_with(3, rest[2] + 0.4 * (rest[3] - rest[2]))
    (prediction,) = reduced([broken], bank, engine, calibration=bank.calibration)
    assert isinstance(prediction, Prediction)
    codes = [flag.code for flag in prediction.flags]
    assert len(codes) == len(set(codes))
    assert codes


@pytest.mark.parametrize("field", ["energy", "forces", "force_std"])
def test_a_number_that_is_not_finite_spoils_no_neighbour(
    bank: SampleBank, engine: VectorizedEngine, field: str
) -> None:
    structures = thermal_ethanol(3)
    clean = reduced(structures, bank, engine, calibration=bank.calibration)

    def poison(outputs: NetworkOutputs) -> None:
        # One sample, middle structure: column 1 of energies, an atom from 9 to 17 elsewhere.
        getattr(outputs, field)[2, 1 if field == "energy" else 12] = torch.nan

    poisoned = reduced(structures, bank, engine, calibration=bank.calibration, poison=poison)
    assert isinstance(poisoned[1], NonFiniteResult)
    for index in (0, 2):
        one, other = clean[index], poisoned[index]
        assert isinstance(one, Prediction)
        assert isinstance(other, Prediction)
        np.testing.assert_array_equal(other.forces, one.forces)
