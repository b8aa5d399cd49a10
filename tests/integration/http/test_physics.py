"""What crosses HTTP is the predictor's answer: same numbers, same laws, in every batch."""

from dataclasses import replace

import numpy as np
import pytest
from ase import units
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from posterion.inference.predictor import Predictor
from posterion.structures.evaluation import Precision
from posterion.structures.structure import Structure
from posterion_client import Client, Encoding, PosterionError, Prediction, PredictOptions
from posterion_client import Structure as Asked
from tests.support.banks import ethanol, thermal_ethanol
from tests.support.predictions import BATCH_TOLERANCE, DOUBLE, predicted
from tests.support.services import Service
from tests.support.tolerances import DISPLACEMENT, FINITE_DIFFERENCE, ROUNDING

FLOAT64 = PredictOptions(precision="float64")
XENON = Asked(numbers=[54], positions=[[0.0, 0.0, 0.0]])


def asked(structure: Structure) -> Asked:
    """The same structure as the client writes it."""
    return Asked(numbers=structure.atomic_numbers, positions=structure.positions)


def fragments() -> list[Structure]:
    """Molecules of different sizes, hot and at rest."""
    whole = ethanol()
    parts = [
        replace(whole, atomic_numbers=whole.atomic_numbers[:n], positions=whole.positions[:n])
        for n in (2, 5, 7)
    ]
    return [*thermal_ethanol(3), *parts, whole]


def predictions(
    client: Client, structures: list[Structure], options: PredictOptions
) -> list[Prediction]:
    return client.predict_many([asked(each) for each in structures], options=options)


def test_float64_forces_equal_the_predictor_in_any_batch(
    client: Client, predictor: Predictor
) -> None:
    structures = fragments()
    expected = predicted(predictor, structures, DOUBLE)
    together = predictions(client, structures, FLOAT64)
    reverse = predictions(client, structures[::-1], FLOAT64)[::-1]
    alone = [client.predict(asked(each), options=FLOAT64) for each in structures]
    for truth, *answers in zip(expected, together, reverse, alone, strict=True):
        for answer in answers:
            np.testing.assert_allclose(answer.forces, truth.forces, rtol=0, atol=1e-9)
            assert answer.energy == pytest.approx(truth.energy, rel=0, abs=ROUNDING)
            assert answer.uncertainty is not None
            assert truth.uncertainty is not None
            assert answer.uncertainty.forces.max == pytest.approx(truth.uncertainty.forces_max)
            assert [flag.code for flag in answer.flags] == [flag.code for flag in truth.flags]


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_structure_is_answered_alike_in_any_two_batches(
    client: Client, precision: Precision
) -> None:
    options = PredictOptions(precision=precision)
    structure, *others = fragments()
    batches: list[list[Structure]] = [
        [structure],
        [structure, *others],
        [*others, structure],
        [structure] * 40,
    ]
    found = [
        next(
            answer.forces
            for each, answer in zip(batch, predictions(client, batch, options), strict=True)
            if each is structure
        )
        for batch in batches
    ]
    for forces in found[1:]:
        np.testing.assert_allclose(forces, found[0], rtol=0, atol=BATCH_TOLERANCE[precision])


def test_a_bad_structure_does_not_change_its_neighbours(client: Client) -> None:
    structure = asked(ethanol(0.05))
    clean = client.predict(structure, options=FLOAT64)
    before, error, after = client.predict_many(
        [structure, XENON, structure], on_error="return", options=FLOAT64
    )
    assert isinstance(error, PosterionError)
    assert error.code == "unsupported-element"
    for answer in (before, after):
        assert isinstance(answer, Prediction)
        np.testing.assert_allclose(answer.forces, clean.forces, rtol=0, atol=ROUNDING)


def test_forces_and_their_uncertainty_rotate_with_the_molecule(client: Client) -> None:
    structure = ethanol(0.05)
    rotation = Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix()
    turned = replace(structure, positions=structure.positions @ rotation.T)
    before, after = predictions(client, [structure, turned], FLOAT64)
    assert np.abs(before.forces).max() > 0.1
    np.testing.assert_allclose(after.forces, before.forces @ rotation.T, rtol=0, atol=ROUNDING)
    assert after.energy == pytest.approx(before.energy, rel=0, abs=ROUNDING)
    assert after.uncertainty is not None
    assert before.uncertainty is not None
    assert after.uncertainty.forces.max == pytest.approx(before.uncertainty.forces.max)


def test_mean_forces_are_the_gradient_of_the_mean_energy(client: Client) -> None:
    structure = ethanol(0.05)
    shape = structure.positions.shape
    steps = DISPLACEMENT * np.eye(structure.positions.size).reshape(-1, *shape)
    displaced = [
        replace(structure, positions=structure.positions + sign * step)
        for sign in (1.0, -1.0)
        for step in steps
    ]
    centre, *around = predictions(client, [structure, *displaced], FLOAT64)
    energies: NDArray[np.float64] = np.array([each.energy for each in around]).reshape(2, -1)
    forces = -(energies[0] - energies[1]).reshape(shape) / (2.0 * DISPLACEMENT)
    scale = np.abs(centre.forces).max()
    np.testing.assert_allclose(
        centre.forces, forces, rtol=0, atol=FINITE_DIFFERENCE * max(1.0, scale)
    )


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_json_and_msgpack_carry_the_same_bits(service: Service, precision: Precision) -> None:
    def answer(encoding: Encoding) -> Prediction:
        options = PredictOptions(precision=precision, samples="full")
        with Client(service.url, encoding=encoding) as client:
            return client.predict(asked(ethanol(0.05)), options=options)

    in_json, raw = answer("json"), answer("msgpack")
    assert in_json.energy == raw.energy
    np.testing.assert_array_equal(in_json.forces, raw.forces)
    assert in_json.uncertainty is not None
    assert raw.uncertainty is not None
    assert in_json.uncertainty.energy == raw.uncertainty.energy
    np.testing.assert_array_equal(in_json.uncertainty.forces.total, raw.uncertainty.forces.total)
    assert in_json.uncertainty.samples is not None
    assert raw.uncertainty.samples is not None
    np.testing.assert_array_equal(
        in_json.uncertainty.samples.forces, raw.uncertainty.samples.forces
    )


@pytest.mark.parametrize(
    ("length", "angstrom"), [("angstrom", 1.0), ("nm", units.nm), ("bohr", units.Bohr)]
)
@pytest.mark.parametrize(
    ("energy", "ev"),
    [
        ("eV", 1.0),
        ("hartree", units.Hartree),
        ("kJ/mol", units.kJ / units.mol),
        ("kcal/mol", units.kcal / units.mol),
    ],
)
def test_units_are_the_callers(
    service: Service, client: Client, length: str, angstrom: float, energy: str, ev: float
) -> None:
    structure = ethanol(0.05)
    expected = client.predict(asked(structure), options=FLOAT64)
    body = {
        "structures": [
            {
                "numbers": structure.atomic_numbers.tolist(),
                "positions": (structure.positions / angstrom).tolist(),
            }
        ],
        "units": {"length": length, "energy": energy},
        "precision": "float64",
    }
    with service.client() as http:
        document = http.post("/v1/predict", json=body).json()
    (result,) = document["results"]
    assert document["units"]["forces"] == f"{energy}/{length}"
    # Different tables of constants agree to eight digits.
    assert result["energy"] * ev == pytest.approx(expected.energy, rel=1e-7)
    forces = np.array(result["forces"]) * ev / angstrom
    np.testing.assert_allclose(forces, expected.forces, rtol=1e-6, atol=1e-6)
    assert expected.uncertainty is not None
    spread = result["uncertainty"]["forces"]["max"] * ev / angstrom
    assert spread == pytest.approx(expected.uncertainty.forces.max, rel=1e-5)
