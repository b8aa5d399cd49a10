"""Structures of several sizes in one request."""

import itertools

import numpy as np
import pytest

from posterion.errors import NonFiniteResult as ServiceNonFinite
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.structure import Structure
from posterion_client import InvalidArgument, InvalidStructure, NonFiniteResult
from posterion_client.md import BatchSession
from tests.support.fake_backend import STABLE, SpringBackend, spring_prediction
from tests.support.spring_service import SpringService
from tests.unit.client.md_cases import NUMBERS, POSITIONS


class TestBatchSession:
    """Structures of several sizes in one request."""

    def test_it_answers_concatenated_arrays(
        self, springs: SpringService, backend: SpringBackend
    ) -> None:
        numbers = np.concatenate([NUMBERS, NUMBERS[:2]])
        positions = np.concatenate([POSITIONS, POSITIONS[:2] + 0.3])
        before = len(backend.calls)
        with BatchSession(url=springs.url) as session:
            found = session.evaluate(numbers, positions, [3, 2])
            assert session.digest == STABLE
        assert len(backend.calls) == before + 1
        for place, part in itertools.product(range(2), [slice(0, 3), slice(3, 5)]):
            if (place == 0) != (part.start == 0):
                continue
            right = spring_prediction(
                Structure(
                    atomic_numbers=numbers[part],
                    positions=positions[part],
                    cell=None,
                    pbc=(False,) * 3,
                ),
                EvaluationOptions(),
            )
            assert found.energies[place] == right.energy
            assert np.array_equal(found.forces[part], right.forces)
            assert found.flags[place] == tuple(flag.code for flag in right.flags)

    def test_the_structure_in_error_is_named(
        self, springs: SpringService, backend: SpringBackend
    ) -> None:
        backend.structure_failures[2] = ServiceNonFinite("NaN")
        with BatchSession(url=springs.url) as session, pytest.raises(NonFiniteResult) as caught:
            session.evaluate([1, 1, 1], [[0, 0, 0], [0, 0, 1], [0, 0, 2]], [1, 2])
        assert caught.value.index == 1

    @pytest.mark.parametrize("sizes", [[2], [4], [3, 0], [-1, 4]])
    def test_sizes_must_add_up(self, springs: SpringService, sizes: list[int]) -> None:
        with BatchSession(url=springs.url) as session, pytest.raises(InvalidArgument):
            session.evaluate(NUMBERS, POSITIONS, sizes)

    def test_the_structure_that_is_not_finite_is_named(self, springs: SpringService) -> None:
        wrong = POSITIONS.copy()
        wrong[2, 1] = np.inf
        with BatchSession(url=springs.url) as session, pytest.raises(InvalidStructure) as caught:
            session.evaluate(NUMBERS, wrong, [2, 1])
        assert caught.value.index == 1
