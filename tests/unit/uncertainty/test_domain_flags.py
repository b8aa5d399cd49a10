"""Rules on the structure name what is wrong with it, whatever the samples say."""

import numpy as np
import pytest
from numpy.typing import NDArray

from posterion.graph.batch import build_graph
from posterion.structures.prediction import Flag, FlagCode
from posterion.structures.structure import Structure
from posterion.uncertainty.domain import TrainingDomain, fit_domain
from posterion.uncertainty.flags import CONTACT_CANDIDATE, CONTACT_FAILED, domain_flags
from tests.support.banks import ethanol

CUTOFF = 4.5
N_ATOMS = 9


@pytest.fixture
def domain() -> TrainingDomain:
    return fit_domain([ethanol()], cutoff=CUTOFF)


def seen(structure: Structure, domain: TrainingDomain) -> dict[FlagCode, Flag]:
    return {flag.code: flag for flag in domain_flags(build_graph(structure, CUTOFF), domain)}


def moved(positions: NDArray[np.float64]) -> Structure:
    return Structure(atomic_numbers=ethanol().atomic_numbers, positions=positions)


def test_a_structure_of_training_raises_nothing(domain: TrainingDomain) -> None:
    assert seen(ethanol(), domain) == {}


@pytest.mark.parametrize(
    ("fraction", "severity", "bound"),
    [(0.90, "candidate", CONTACT_CANDIDATE), (0.70, "failed", CONTACT_FAILED)],
)
def test_a_close_contact_names_the_pair(
    domain: TrainingDomain, fraction: float, severity: str, bound: float
) -> None:
    positions = ethanol().positions.copy()
    bond = positions[3] - positions[2]  # O-H: the shortest bond, and the only one of its kind
    positions[3] = positions[2] + fraction * bond
    flag = seen(moved(positions), domain)["close-contact"]
    assert (flag.severity, flag.atoms) == (severity, (2, 3))
    length = float(np.linalg.norm(bond))
    assert flag.value == pytest.approx(fraction * length)
    assert flag.threshold == pytest.approx(bound * length)
    assert (flag.unit, flag.coverage, flag.calibration_id) == ("angstrom", None, None)


def test_a_contact_within_the_margin_is_trusted(domain: TrainingDomain) -> None:
    positions = ethanol().positions.copy()
    positions[3] = positions[2] + 0.97 * (positions[3] - positions[2])
    assert "close-contact" not in seen(moved(positions), domain)


def test_a_pair_of_elements_never_seen_is_a_close_contact(domain: TrainingDomain) -> None:
    second = ethanol().positions[:, [0, 2, 1]] + np.array([0.0, 0.0, 4.0])
    pair = Structure(
        atomic_numbers=np.tile(ethanol().atomic_numbers, 2),
        positions=np.concatenate([ethanol().positions, second]),
    )
    oxygens = np.linalg.norm(pair.positions[2] - pair.positions[11])
    assert oxygens < CONTACT_CANDIDATE * CUTOFF
    assert seen(pair, domain)["close-contact"].atoms == (2, 11)


def test_an_atom_far_from_all_others_is_isolated(domain: TrainingDomain) -> None:
    positions = ethanol().positions.copy()
    positions[3] += np.array([-50.0, 0.0, 0.0])
    flag = seen(moved(positions), domain)["isolated-atom"]
    assert (flag.severity, flag.atoms) == ("failed", (3,))


def test_an_atom_of_a_kind_seen_alone_is_a_candidate(domain: TrainingDomain) -> None:
    hydrogen = Structure(atomic_numbers=np.array([1]), positions=np.zeros((1, 3)))
    informed = fit_domain([ethanol(), hydrogen], cutoff=CUTOFF)
    assert seen(hydrogen, domain)["isolated-atom"].severity == "failed"
    assert "isolated-atom" not in seen(hydrogen, informed)
    positions = ethanol().positions.copy()
    positions[3] += np.array([-50.0, 0.0, 0.0])
    assert seen(moved(positions), informed)["isolated-atom"].severity == "candidate"


def test_a_composition_is_failed_where_its_energy_is_undetermined(
    domain: TrainingDomain,
) -> None:
    water = Structure(
        atomic_numbers=np.array([8, 1, 1]),
        positions=np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]),
    )
    flag = seen(water, domain)["composition-unseen"]
    assert (flag.severity, flag.metric, flag.threshold) == ("failed", "composition_distance", 0.0)
    assert flag.value == pytest.approx(2 / 9)  # of the atoms, carbon must become oxygen
    informed = fit_domain([ethanol(), water], cutoff=CUTOFF)
    assert "composition-unseen" not in seen(water, informed)


def test_a_combination_of_compositions_seen_is_mere_novelty(domain: TrainingDomain) -> None:
    water = Structure(
        atomic_numbers=np.array([8, 1, 1]),
        positions=np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]),
    )
    informed = fit_domain([ethanol(), water], cutoff=CUTOFF)
    # 2 CH3OH have the atoms of C2H6O and H2O.
    methanol = Structure(
        atomic_numbers=np.array([6, 8, 1, 1, 1, 1]),
        positions=np.random.default_rng(0).uniform(0.0, 3.0, size=(6, 3)),
    )
    assert "composition-unseen" not in seen(methanol, informed)
    assert "composition-unseen" in seen(methanol, domain)


def test_flags_do_not_depend_on_the_order_of_atoms(domain: TrainingDomain) -> None:
    positions = ethanol().positions.copy()
    positions[3] = positions[2] + 0.7 * (positions[3] - positions[2])
    order = np.random.default_rng(0).permutation(N_ATOMS)
    shuffled = Structure(atomic_numbers=ethanol().atomic_numbers[order], positions=positions[order])
    one, other = (seen(s, domain)["close-contact"] for s in (moved(positions), shuffled))
    assert other.severity == one.severity
    assert other.value == pytest.approx(one.value)
    assert {int(order[atom]) for atom in other.atoms} == set(one.atoms)
