"""The gradient of the uncertainty is asked for by name and read like everything else."""

from typing import Any

import numpy as np
import pytest

from posterion_client import (
    Client,
    InvalidArgument,
    InvalidReply,
    PredictOptions,
    Structure,
    UncertaintyGradient,
)
from tests.unit.client.examples import ETHANOL, silicon
from tests.unit.client.stand_in import StandIn


def ask(service: StandIn, structure: Structure, **options: Any) -> UncertaintyGradient | None:  # noqa: ANN401 - options of any type
    with Client(transport=service.transport) as client:
        prediction = client.predict(structure, options=PredictOptions(**options))
    return prediction.uncertainty_gradient


def test_a_gradient_comes_only_as_asked() -> None:
    service = StandIn()
    assert ask(service, ETHANOL) is None
    assert ask(service, ETHANOL, gradient_of="energy_epistemic", uncertainty=False) is not None
    plain, asked = service.documents()
    assert plain["uncertainty"] == {"samples": "none"}, "an older service would refuse more"
    assert asked["outputs"] == ["energy", "forces", "uncertainty_gradient"]
    assert asked["uncertainty"] == {"samples": "none", "gradient_of": "energy_epistemic"}


def test_a_gradient_is_read_with_its_shapes() -> None:
    found = ask(StandIn(), ETHANOL, gradient_of="force_epistemic_rms")
    assert found is not None
    assert (found.of, found.value, found.unit) == ("force_epistemic_rms", 0.25, "eV/angstrom")
    np.testing.assert_array_equal(found.positions, 0.01 * ETHANOL.positions)
    assert found.cell is None
    crystal = ask(StandIn(), Structure.from_ase(silicon()), gradient_of="latent_score")
    assert crystal is not None
    assert crystal.cell is not None
    np.testing.assert_array_equal(crystal.cell, np.arange(9.0).reshape(3, 3))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("positions", np.zeros((8, 3)), "(9, 3), got shape (8, 3)"),
        ("value", None, "a number at /results/0/uncertainty_gradient/value"),
        ("of", "energy", "one of force_epistemic_rms"),
        ("cell", np.zeros((2, 3)), "(3, 3)"),
    ],
)
def test_a_wrong_gradient_is_refused_by_its_place(field: str, value: object, said: str) -> None:
    def change(document: dict[str, Any]) -> None:
        document["results"][0]["uncertainty_gradient"][field] = value

    with pytest.raises(InvalidReply) as caught:
        ask(StandIn(change=change), ETHANOL, gradient_of="force_epistemic_rms")
    assert said in caught.value.detail


def test_a_gradient_that_nobody_knows_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="gradient_of must be one of"):
        PredictOptions(gradient_of="force_total")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="needs a number of n_samples"):
        PredictOptions(gradient_of="force_epistemic_rms", n_samples="adaptive")
