"""The training domain remembers distances and compositions, whatever the frame of reference."""

import numpy as np
import pytest
from pydantic import ValidationError

from posterion.structures.structure import Structure
from posterion.uncertainty.domain import PairDistance, TrainingDomain, fit_domain

CUTOFF = 4.0
H, C, O = 1, 6, 8  # noqa: E741 - the symbols of the elements


def molecule(numbers: list[int], positions: list[list[float]]) -> Structure:
    return Structure(atomic_numbers=np.array(numbers), positions=np.array(positions))


WATER = molecule([O, H, H], [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
HYDROGEN = molecule([H, H], [[0, 0, 0], [0.74, 0, 0]])
ATOM = molecule([H], [[0, 0, 0]])


def distance(domain: TrainingDomain, first: int, second: int) -> float:
    return float(domain.shortest_seen(np.array([first]), np.array([second]))[0])


def test_the_shortest_distance_of_each_pair_is_kept() -> None:
    domain = fit_domain([WATER, HYDROGEN], cutoff=CUTOFF)
    assert distance(domain, H, H) == pytest.approx(0.74)
    assert distance(domain, O, H) == distance(domain, H, O)
    assert distance(domain, O, H) == pytest.approx(0.96, abs=1e-3)


def test_a_pair_never_seen_counts_from_the_cutoff() -> None:
    assert distance(fit_domain([WATER], cutoff=CUTOFF), O, O) == CUTOFF


def test_periodic_images_count() -> None:
    crystal = Structure(
        atomic_numbers=np.array([C]),
        positions=np.zeros((1, 3)),
        cell=np.diag([2.5, 3.0, 3.5]),
        pbc=(True, True, True),
    )
    assert distance(fit_domain([crystal], cutoff=CUTOFF), C, C) == pytest.approx(2.5)


def test_order_and_placement_of_structures_do_not_matter() -> None:
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    moved = Structure(
        atomic_numbers=WATER.atomic_numbers[::-1],
        positions=(WATER.positions @ turn + 7.0)[::-1],
    )
    one = fit_domain([WATER, HYDROGEN], cutoff=CUTOFF)
    other = fit_domain([HYDROGEN, moved], cutoff=CUTOFF)
    assert other.compositions == one.compositions
    for pair in ((H, H), (O, H)):
        assert distance(other, *pair) == pytest.approx(distance(one, *pair))


def test_a_multiple_of_a_seen_composition_is_seen() -> None:
    domain = fit_domain([WATER], cutoff=CUTOFF)
    two = molecule([O, H, H] * 2, [*WATER.positions.tolist(), *(WATER.positions + 3).tolist()])
    assert domain.composition_distance(two) == 0.0
    assert domain.composition_determined(two)
    assert fit_domain([WATER, two], cutoff=CUTOFF).compositions == domain.compositions


def test_the_composition_distance_is_the_fraction_to_exchange() -> None:
    domain = fit_domain([WATER], cutoff=CUTOFF)  # one third oxygen
    peroxide = molecule([O, O, H, H], [[0, 0, 0], [1.4, 0, 0], [-0.3, 0.9, 0], [1.7, 0.9, 0]])
    assert domain.composition_distance(peroxide) == pytest.approx(1 / 2 - 1 / 3)


def test_a_composition_is_determined_only_within_the_span_of_training() -> None:
    peroxide = molecule([O, O, H, H], [[0, 0, 0], [1.4, 0, 0], [-0.3, 0.9, 0], [1.7, 0.9, 0]])
    assert not fit_domain([WATER], cutoff=CUTOFF).composition_determined(peroxide)
    assert fit_domain([WATER, HYDROGEN], cutoff=CUTOFF).composition_determined(peroxide)


def test_atoms_without_neighbours_are_remembered() -> None:
    assert fit_domain([WATER], cutoff=CUTOFF).isolated_elements == ()
    assert fit_domain([WATER, ATOM], cutoff=CUTOFF).isolated_elements == (H,)


def test_a_domain_survives_json() -> None:
    domain = fit_domain([WATER, HYDROGEN, ATOM], cutoff=CUTOFF)
    again = TrainingDomain.model_validate_json(domain.model_dump_json())
    assert again == domain
    assert again.n_atoms_max == 3
    assert again.n_structures == 3


def test_a_pair_named_twice_is_refused() -> None:
    document = fit_domain([WATER], cutoff=CUTOFF).model_dump()
    pair = PairDistance(elements=(H, O), distance=0.9).model_dump()
    document["pair_distances"] = (*document["pair_distances"], pair)
    with pytest.raises(ValidationError, match="each ascending pair once"):
        TrainingDomain.model_validate(document)
