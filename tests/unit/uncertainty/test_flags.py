"""A flag is raised by exactly one number crossing exactly one threshold, and shows both."""

from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from posterion.graph.batch import build_graph
from posterion.structures.prediction import Flag, FlagCode, Uncertainty
from posterion.structures.structure import Structure
from posterion.uncertainty.calibration import (
    Calibration,
    Evidence,
    FlagThreshold,
    IntervalCalibration,
    SampleCountCalibration,
)
from posterion.uncertainty.domain import TrainingDomain, fit_domain
from posterion.uncertainty.flags import (
    CONTACT_CANDIDATE,
    CONTACT_FAILED,
    domain_flags,
    spread_flags,
)
from tests.support.banks import ethanol

CUTOFF = 4.5
N_ATOMS = 9
FORCE_CANDIDATE = 0.10
ENERGY_CANDIDATE = 0.002
FAILED = 3.0


def threshold(
    metric: Literal["force_epistemic_max", "energy_epistemic"], candidate: float
) -> FlagThreshold:
    force = metric == "force_epistemic_max"
    return FlagThreshold(
        metric=metric,
        unit="eV/angstrom" if force else "eV",
        per="structure" if force else "atom",
        candidate=candidate,
        failed=FAILED * candidate,
        level=0.99,
        candidate_coverage=0.98,
        failed_coverage=1.0,
    )


@pytest.fixture
def calibration() -> Calibration:
    evidence = Evidence(dataset_digest=f"sha256:{'c' * 64}", n_frames=200, n_force_components=600)
    entries = tuple(
        SampleCountCalibration(
            n_samples=n_samples,
            forces=IntervalCalibration(factor=1.0, coverage=0.9),
            energy=IntervalCalibration(factor=1.0, coverage=0.9),
            # Fewer samples, rougher spread: a larger threshold.
            force_epistemic_max=threshold("force_epistemic_max", FORCE_CANDIDATE * 4 / n_samples),
            energy_epistemic=threshold("energy_epistemic", ENERGY_CANDIDATE),
        )
        for n_samples in (2, 3, 4)
    )
    return Calibration(
        level=0.90,
        flag_level=0.99,
        failed_multiple=FAILED,
        date="2026-01-01",
        fitted_on=evidence,
        measured_on=evidence,
        entries=entries,
    )


@pytest.fixture
def domain() -> TrainingDomain:
    return fit_domain([ethanol()], cutoff=CUTOFF)


def uncertain(*, force: float = 0.0, energy: float = 0.0, aleatoric: float = 0.0) -> Uncertainty:
    """Epistemic e_i of ``force`` on atom 3, none elsewhere."""
    forces = np.zeros((N_ATOMS, 3))
    forces[3] = force
    return Uncertainty(
        calibrated=True,
        energy_epistemic=energy,
        energy_aleatoric=aleatoric,
        forces_epistemic=forces,
        forces_aleatoric=np.full(N_ATOMS, aleatoric),
    )


def judged(
    uncertainty: Uncertainty, calibration: Calibration, *, n_samples: int = 4
) -> dict[FlagCode, Flag]:
    flags = spread_flags(uncertainty, n_atoms=N_ATOMS, n_samples=n_samples, calibration=calibration)
    return {flag.code: flag for flag in flags}


def seen(structure: Structure, domain: TrainingDomain) -> dict[FlagCode, Flag]:
    return {flag.code: flag for flag in domain_flags(build_graph(structure, CUTOFF), domain)}


def moved(positions: NDArray[np.float64]) -> Structure:
    return Structure(atomic_numbers=ethanol().atomic_numbers, positions=positions)


@pytest.mark.parametrize(
    ("force", "severity", "bound"),
    [(0.11, "candidate", FORCE_CANDIDATE), (0.31, "failed", FAILED * FORCE_CANDIDATE)],
)
def test_a_high_force_spread_names_its_atom_and_threshold(
    calibration: Calibration, force: float, severity: str, bound: float
) -> None:
    flag = judged(uncertain(force=force), calibration)["force-epistemic-high"]
    assert (flag.severity, flag.atoms) == (severity, (3,))
    assert flag.value == pytest.approx(force)
    assert flag.threshold == pytest.approx(bound)
    assert (flag.metric, flag.unit) == ("force_epistemic_max", "eV/angstrom")
    assert flag.threshold_source == "calibration"
    assert flag.calibration_id == calibration.identity
    assert flag.coverage == (0.98 if severity == "candidate" else 1.0)


def test_spread_at_the_threshold_is_trusted(calibration: Calibration) -> None:
    assert (
        judged(uncertain(force=0.099, energy=0.99 * N_ATOMS * ENERGY_CANDIDATE), calibration) == {}
    )


def test_the_energy_threshold_grows_with_the_structure(calibration: Calibration) -> None:
    energy = 1.5 * N_ATOMS * ENERGY_CANDIDATE
    flag = judged(uncertain(energy=energy), calibration)["energy-epistemic-high"]
    assert (flag.severity, flag.atoms, flag.unit) == ("candidate", (), "eV")
    assert flag.threshold == pytest.approx(N_ATOMS * ENERGY_CANDIDATE)
    twice = spread_flags(
        uncertain(energy=energy), n_atoms=2 * N_ATOMS, n_samples=4, calibration=calibration
    )
    assert twice == ()


def test_aleatoric_noise_alone_never_raises_a_flag(calibration: Calibration) -> None:
    assert judged(uncertain(aleatoric=1e6), calibration) == {}


def test_each_number_of_samples_has_its_own_threshold(calibration: Calibration) -> None:
    assert "force-epistemic-high" in judged(uncertain(force=0.15), calibration, n_samples=4)
    assert judged(uncertain(force=0.15), calibration, n_samples=2) == {}


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


def test_an_unseen_composition_is_failed_where_its_energy_is_undetermined(
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


def test_flags_do_not_depend_on_the_order_of_atoms(domain: TrainingDomain) -> None:
    positions = ethanol().positions.copy()
    positions[3] = positions[2] + 0.7 * (positions[3] - positions[2])
    order = np.random.default_rng(0).permutation(N_ATOMS)
    shuffled = Structure(atomic_numbers=ethanol().atomic_numbers[order], positions=positions[order])
    one, other = (seen(s, domain)["close-contact"] for s in (moved(positions), shuffled))
    assert other.severity == one.severity
    assert other.value == pytest.approx(one.value)
    assert {int(order[atom]) for atom in other.atoms} == set(one.atoms)
