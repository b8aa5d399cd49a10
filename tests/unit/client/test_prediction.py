"""What is answered reaches the caller as typed, read-only results."""

import numpy as np
import pytest

from posterion_client import (
    Client,
    ModelIdentity,
    Prediction,
    Structure,
    Timing,
)
from tests.unit.client.examples import ETHANOL, FAR, molecule
from tests.unit.client.stand_in import (
    DIGEST,
    FLAG,
    STIFFNESS,
    StandIn,
)


def ask(service: StandIn, structure: Structure = ETHANOL) -> Prediction:
    with Client(transport=service.transport) as client:
        return client.predict(structure)


class TestPrediction:
    def test_holds_what_the_service_answered(self) -> None:
        prediction = ask(StandIn())
        positions = ETHANOL.positions
        assert prediction.energy == 0.5 * STIFFNESS * np.sum(positions**2)
        np.testing.assert_array_equal(prediction.forces, -STIFFNESS * positions, strict=True)
        assert prediction.stress is None
        assert (prediction.status, prediction.flags) == ("ok", ())
        assert prediction.model == ModelIdentity(
            name="ethanol",
            version="4b1f0c2d9a7e6f31",
            digest=DIGEST,
            n_samples=2,
            engine="reference",
            engine_deviation=0.0,
        )
        assert prediction.timing == Timing(
            queue_ms=1.25, graph_ms=0.5, evaluate_ms=9.75, total_ms=12.0
        )

    def test_uncertainty_is_split_by_source(self) -> None:
        uncertainty = ask(StandIn()).uncertainty
        assert uncertainty is not None
        epistemic = 0.01 + 0.001 * np.abs(ETHANOL.positions)
        assert uncertainty.calibrated
        assert (uncertainty.energy.epistemic, uncertainty.energy.aleatoric) == (0.003, 0.004)
        assert uncertainty.energy.total == 0.005
        np.testing.assert_array_equal(uncertainty.forces.epistemic, epistemic)
        np.testing.assert_array_equal(uncertainty.forces.aleatoric, np.full(9, 0.02))
        np.testing.assert_array_equal(uncertainty.forces.total, np.hypot(epistemic, 0.02))
        per_atom = np.sqrt((epistemic**2).mean(axis=1))
        assert uncertainty.forces.max == per_atom[uncertainty.forces.argmax_atom] == per_atom.max()
        assert uncertainty.samples is None

    def test_flag_carries_its_evidence(self) -> None:
        prediction = ask(StandIn(), FAR)
        (flag,) = prediction.flags
        assert prediction.status == "flagged"
        assert flag.atoms == (1,)
        for name in FLAG.keys() - {"atoms"}:
            assert getattr(flag, name) == FLAG[name]

    def test_cannot_be_changed(self) -> None:
        prediction = ask(StandIn())
        with pytest.raises(AttributeError):
            prediction.energy = 0.0  # type: ignore[misc] # the mistake under test
        with pytest.raises(ValueError, match="read-only"):
            prediction.forces[0] = 0.0

    def test_names_the_request_it_answers(self) -> None:
        service = StandIn()
        prediction = ask(service)
        assert prediction.request_id == service.seen[0].headers["x-request-id"]

    def test_atoms_and_structure_ask_the_same(self) -> None:
        service = StandIn()
        with Client(transport=service.transport) as client:
            client.predict(ETHANOL)
            client.predict(molecule("CH3CH2OH"))
        first, second = service.seen
        assert first.content == second.content
