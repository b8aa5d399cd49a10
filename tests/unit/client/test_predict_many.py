"""Many structures are answered in order, each with its own error."""

import numpy as np
import pytest

from posterion_client import (
    Client,
    InvalidArgument,
    InvalidStructure,
    Prediction,
    Structure,
    UnsupportedElement,
)
from tests.unit.client.examples import ETHANOL, FAR, URANIUM, molecule
from tests.unit.client.stand_in import (
    STIFFNESS,
    StandIn,
    problem,
)


class TestPredictMany:
    def test_order_is_kept_and_errors_stand_in_their_place(self) -> None:
        broken = molecule("H2O")
        broken.positions[0, 0] = np.inf
        service = StandIn()
        with Client(transport=service.transport) as client:
            outcomes = client.predict_many([ETHANOL, broken, URANIUM, FAR], on_error="return")
        rest, unsent, unknown, far = outcomes
        assert isinstance(rest, Prediction)
        assert isinstance(unsent, InvalidStructure)
        assert isinstance(unknown, UnsupportedElement)
        assert isinstance(far, Prediction)
        assert rest.forces.shape == (9, 3)
        assert far.status == "flagged"
        assert (unsent.index, unsent.status) == (1, None)
        assert (unknown.index, unknown.status) == (2, 422)
        assert len(service.seen) == 1, "one request carries the good ones"

    def test_first_error_is_raised_on_demand(self) -> None:
        with (
            Client(transport=StandIn().transport) as client,
            pytest.raises(UnsupportedElement, match="structure 1") as caught,
        ):
            client.predict_many([ETHANOL, URANIUM, URANIUM])
        assert caught.value.index == 1

    def test_nothing_is_asked_about_nothing(self) -> None:
        service = StandIn()
        with Client(transport=service.transport) as client:
            assert client.predict_many([]) == []
        assert service.seen == []

    def test_long_sequence_is_sent_in_parts(self) -> None:
        structures = [
            Structure(symbols=["H"], positions=[[float(index), 0, 0]]) for index in range(600)
        ]
        structures[300] = URANIUM
        service = StandIn()
        with Client(transport=service.transport) as client:
            outcomes = client.predict_many(structures, on_error="return")
        assert [len(document["structures"]) for document in service.documents()] == [256, 256, 88]
        for index, outcome in enumerate(outcomes):
            if isinstance(outcome, Prediction):
                assert outcome.forces[0, 0] == -STIFFNESS * index
            else:
                assert (index, outcome.index) == (300, 300)

    def test_large_structures_share_a_request_up_to_its_atoms(self) -> None:
        def of_size(n_atoms: int) -> Structure:
            return Structure(numbers=np.ones(n_atoms, int), positions=np.zeros((n_atoms, 3)))

        service = StandIn()
        with Client(transport=service.transport) as client:
            sizes = (30_000, 20_000, 1, 60_000, 10)
            client.predict_many([of_size(n_atoms) for n_atoms in sizes])
        parts = [
            [len(structure["numbers"]) for structure in document["structures"]]
            for document in service.documents()
        ]
        assert parts == [[30_000, 20_000], [1], [60_000], [10]]

    @pytest.mark.parametrize("value", [ETHANOL, molecule("H2O")])
    def test_single_structure_is_not_taken_for_a_sequence(self, value: object) -> None:
        with (
            Client(transport=StandIn().transport) as client,
            pytest.raises(InvalidArgument, match="use predict"),
        ):
            client.predict_many(value)  # type: ignore[call-overload] # the mistake under test

    def test_generator_is_refused(self) -> None:
        with (
            Client(transport=StandIn().transport) as client,
            pytest.raises(InvalidArgument, match=r"list\(\.\.\.\)"),
        ):
            client.predict_many(s for s in [ETHANOL])  # type: ignore[call-overload]

    def test_failure_of_the_request_is_raised_even_if_errors_are_returned(self) -> None:
        service = StandIn(script=[problem(401, "unauthenticated")])
        with (
            Client(transport=service.transport) as client,
            pytest.raises(Exception, match="unauthenticated"),
        ):
            client.predict_many([ETHANOL], on_error="return")
