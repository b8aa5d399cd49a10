"""What is asked, of which model, and of which version for how long."""

import math
from typing import Any

import numpy as np
import pytest

from posterion_client import (
    Client,
    InvalidArgument,
    InvalidStructure,
    ModelChanged,
    Prediction,
    PredictOptions,
    Structure,
)
from tests.unit.client.examples import ETHANOL, molecule, silicon
from tests.unit.client.stand_in import (
    DIGEST,
    OTHER_DIGEST,
    StandIn,
)


def ask(service: StandIn, structure: Structure = ETHANOL) -> Prediction:
    with Client(transport=service.transport) as client:
        return client.predict(structure)


class TestRequest:
    def test_default_asks_for_energy_forces_and_uncertainty(self) -> None:
        service = StandIn()
        ask(service)
        (document,) = service.documents()
        (sent,) = document.pop("structures")
        np.testing.assert_array_equal(sent.pop("positions"), ETHANOL.positions)
        assert sent == {
            "numbers": ETHANOL.numbers.tolist(),
            "cell": None,
            "pbc": [False, False, False],
            "charge": 0,
            "spin_multiplicity": 1,
        }
        assert document == {
            "outputs": ["energy", "forces", "uncertainty"],
            "uncertainty": {"samples": "none"},
            "units": {"length": "angstrom", "energy": "eV"},
            "precision": "float32",
            "n_samples": None,
            "deadline_ms": None,
        }

    def test_a_number_of_samples_may_be_left_to_the_structures(self) -> None:
        service = StandIn()
        with Client(transport=service.transport) as client:
            options = PredictOptions(n_samples="adaptive")
            prediction = client.predict(ETHANOL, options=options)
        (document,) = service.documents()
        assert document["n_samples"] == "adaptive"
        # An older service does not say it for every structure.
        assert prediction.n_samples == 2
        with pytest.raises(InvalidArgument, match="a number or 'adaptive', got 'many'"):
            PredictOptions(n_samples="many")  # type: ignore[arg-type]

    def test_options_reach_the_service(self) -> None:
        service = StandIn()
        options = PredictOptions(
            stress=True, samples="full", precision="float64", n_samples=2, deadline_s=1.5
        )
        with Client(transport=service.transport) as client:
            prediction = client.predict(silicon(), options=options)
        (document,) = service.documents()
        assert document["outputs"] == ["energy", "forces", "stress", "uncertainty"]
        assert document["uncertainty"] == {"samples": "full"}
        assert (document["precision"], document["n_samples"]) == ("float64", 2)
        assert document["deadline_ms"] == 1500
        assert document["structures"][0]["cell"] == silicon().cell.tolist()
        assert document["structures"][0]["pbc"] == [True, True, True]
        assert prediction.stress is not None
        assert prediction.stress[0, 1] == prediction.stress[1, 0] == 0.02
        assert prediction.uncertainty is not None
        assert prediction.uncertainty.samples is not None
        assert prediction.uncertainty.samples.energies.shape == (2,)
        assert prediction.uncertainty.samples.forces is not None
        mean = prediction.uncertainty.samples.forces.mean(axis=0)
        np.testing.assert_allclose(mean, prediction.forces, rtol=1e-15)

    def test_a_bulk_priority_is_said_and_the_usual_one_is_not(self) -> None:
        service = StandIn()
        with Client(transport=service.transport) as client:
            client.predict(ETHANOL, options=PredictOptions(priority="bulk"))
            client.predict(ETHANOL, options=PredictOptions())
        bulk, usual = service.documents()
        assert bulk["priority"] == "bulk"
        assert "priority" not in usual, "an older service would refuse it"

    def test_uncertainty_can_be_left_out(self) -> None:
        service = StandIn()
        with Client(transport=service.transport) as client:
            prediction = client.predict(ETHANOL, options=PredictOptions(uncertainty=False))
        assert prediction.uncertainty is None
        assert service.documents()[0]["outputs"] == ["energy", "forces"]

    def test_read_limit_leaves_room_for_the_deadline(self) -> None:
        service = StandIn()
        with Client(transport=service.transport) as client:
            client.predict(ETHANOL, options=PredictOptions(deadline_s=300))
            client.predict(ETHANOL, options=PredictOptions(deadline_s=1))
        limits = [request.extensions["timeout"] for request in service.seen]
        assert [limit["read"] for limit in limits] == [305.0, 60.0]
        assert [limit["connect"] for limit in limits] == [5.0, 5.0]

    @pytest.mark.parametrize(
        "options",
        [{"n_samples": 0}, {"priority": "urgent"}, {"deadline_s": 0.0}, {"deadline_s": math.nan}],
    )
    def test_meaningless_option_is_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(InvalidArgument, match=next(iter(options))):
            PredictOptions(**options)

    def test_samples_without_uncertainty_are_refused(self) -> None:
        with pytest.raises(InvalidArgument, match="samples"):
            PredictOptions(samples="energy", uncertainty=False)

    @pytest.mark.parametrize("value", [[1, 2, 3], {"numbers": [1]}, "CCO", None])
    def test_what_is_no_structure_is_refused(self, value: object) -> None:
        service = StandIn()
        with (
            Client(transport=service.transport) as client,
            pytest.raises(InvalidArgument, match=type(value).__name__),
        ):
            client.predict(value)  # type: ignore[arg-type] # the mistake under test
        assert service.seen == []

    def test_nan_in_atoms_is_never_sent(self) -> None:
        atoms = molecule("CH3CH2OH")
        atoms.positions[4, 1] = np.nan
        service = StandIn()
        with Client(transport=service.transport) as client:
            with pytest.raises(InvalidStructure, match="atom 4"):
                client.predict(atoms)
            with pytest.raises(InvalidStructure, match="atom 4") as caught:
                client.predict_many([ETHANOL, atoms])
        assert caught.value.index == 1
        assert service.seen == []


class TestTarget:
    @pytest.mark.parametrize(
        ("own", "asked", "path"),
        [
            ({}, {}, "/v1/predict"),
            ({"model": "a"}, {}, "/v1/models/a/predict"),
            ({"model": "a", "version": "canary"}, {}, "/v1/models/a/versions/canary/predict"),
            (
                {"model": "a", "version": "x"},
                {"model": "a"},
                "/v1/models/a/versions/x/predict",
            ),
            ({"model": "a", "version": "x"}, {"model": "b"}, "/v1/models/b/predict"),
            (
                {"model": "a", "version": "x"},
                {"version": "y"},
                "/v1/models/a/versions/y/predict",
            ),
            (
                {},
                {"model": "b", "version": DIGEST},
                f"/v1/models/b/versions/{DIGEST}/predict",
            ),
            ({}, {"model": "../x?"}, "/v1/models/..%2Fx%3F/predict"),
        ],
    )
    def test_route_follows_model_and_version(
        self, own: dict[str, str], asked: dict[str, str], path: str
    ) -> None:
        service = StandIn()
        with Client("http://host/base/", transport=service.transport, **own) as client:  # type: ignore[arg-type] # strings only
            client.predict(ETHANOL, **asked)  # type: ignore[arg-type] # strings only
        assert service.seen[0].url.raw_path.decode() == f"/base{path}"

    def test_version_needs_a_model(self) -> None:
        with pytest.raises(InvalidArgument, match="without a model"):
            Client(version="stable")

    def test_headers_go_with_every_request(self) -> None:
        service = StandIn()
        with Client(transport=service.transport, headers={"Authorization": "Bearer t"}) as client:
            client.predict(ETHANOL)
            client.models()
        assert {request.headers["authorization"] for request in service.seen} == {"Bearer t"}
        assert all("posterion-client/" in r.headers["user-agent"] for r in service.seen)


class TestPin:
    def test_without_pin_nothing_is_held_fast(self) -> None:
        service = StandIn()
        with Client(transport=service.transport) as client:
            client.predict(ETHANOL)
            service.digest = OTHER_DIGEST
            assert client.predict(ETHANOL).model.digest == OTHER_DIGEST
        assert all("if-match" not in request.headers for request in service.seen)

    @pytest.mark.parametrize("settings", [{"pin": True}, {"model": "ethanol", "version": "stable"}])
    def test_first_sample_set_is_demanded_ever_after(self, settings: dict[str, Any]) -> None:
        service = StandIn()
        with Client(transport=service.transport, **settings) as client:
            client.predict(ETHANOL)
            client.predict(ETHANOL)
            service.digest = OTHER_DIGEST
            with pytest.raises(ModelChanged, match="version-moved"):
                client.predict(ETHANOL)
            service.digest = DIGEST
            client.predict(ETHANOL)
        tags = [request.headers.get("if-match") for request in service.seen]
        assert tags == [None, *[f'"{DIGEST}"'] * 3]

    def test_pin_can_be_declined_for_an_alias(self) -> None:
        service = StandIn()
        settings: dict[str, Any] = {"model": "ethanol", "version": "stable", "pin": False}
        with Client(transport=service.transport, **settings) as client:
            client.predict(ETHANOL)
            service.digest = OTHER_DIGEST
            assert client.predict(ETHANOL).model.digest == OTHER_DIGEST

    def test_service_that_ignores_the_pin_is_caught(self) -> None:
        service = StandIn()

        def swap(document: dict[str, Any]) -> None:
            document["model"]["digest"] = OTHER_DIGEST

        with Client(transport=service.transport, pin=True) as client:
            client.predict(ETHANOL)
            service.change = swap
            with pytest.raises(ModelChanged, match=OTHER_DIGEST):
                client.predict(ETHANOL)

    def test_each_model_has_its_own_pin(self) -> None:
        service = StandIn()
        with Client(transport=service.transport, pin=True) as client:
            client.predict(ETHANOL, model="a")
            service.digest = OTHER_DIGEST
            assert client.predict(ETHANOL, model="b").model.digest == OTHER_DIGEST

    def test_one_call_may_demand_a_sample_set(self) -> None:
        service = StandIn()
        with Client(transport=service.transport) as client, pytest.raises(ModelChanged):
            client.predict(ETHANOL, digest=OTHER_DIGEST)
        assert service.seen[0].headers["if-match"] == f'"{OTHER_DIGEST}"'
