"""A flag is raised by exactly one number crossing exactly one threshold, and shows both."""

from typing import Literal

import numpy as np
import pytest

from posterion.structures.prediction import Flag, FlagCode, Uncertainty
from posterion.uncertainty.calibration import (
    Calibration,
    ErrorTarget,
    Evidence,
    FlagThreshold,
    IntervalCalibration,
    Metric,
    SampleCountCalibration,
)
from posterion.uncertainty.flags import (
    latent_flags,
    spread_flags,
)

CUTOFF = 4.5
N_ATOMS = 9
FORCE_CANDIDATE = 0.10
ENERGY_CANDIDATE = 0.002
LATENT_CANDIDATE = 40.0
FAILED = 3.0


def threshold(metric: Metric, candidate: float) -> FlagThreshold:
    units: dict[Metric, Literal["eV/angstrom", "eV", "nat"]] = {
        "force_epistemic_max": "eV/angstrom",
        "energy_epistemic": "eV",
        "latent_score_max": "nat",
    }
    return FlagThreshold(
        metric=metric,
        unit=units[metric],
        per="atom" if metric == "energy_epistemic" else "structure",
        candidate=candidate,
        failed=FAILED * candidate,
        level=0.95,
        candidate_coverage=0.98,
        failed_coverage=1.0,
        error_per_unit=0.1 / candidate,
        error_coverage=0.95,
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
            latent_score_max=threshold("latent_score_max", LATENT_CANDIDATE * 4 / n_samples),
        )
        for n_samples in (2, 3, 4)
    )
    return Calibration(
        level=0.90,
        target=ErrorTarget(),
        failed_multiple=FAILED,
        date="2026-01-01",
        fitted_on=evidence,
        measured_on=evidence,
        entries=entries,
    )


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
    assert flag.threshold_source == "error-target"
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


def without(calibration: Calibration, **fields: object) -> Calibration:
    """The same calibration with other fields in every entry."""
    document = calibration.model_dump()
    document["entries"] = [entry | fields for entry in document["entries"]]
    return Calibration.model_validate(document)


@pytest.mark.parametrize(
    ("score", "severity", "atoms"),
    [(41.0, "candidate", (3, 5)), (121.0, "failed", (3,))],
)
def test_a_low_latent_density_names_its_atoms(
    calibration: Calibration, score: float, severity: str, atoms: tuple[int, ...]
) -> None:
    scores = np.full(N_ATOMS, 10.0)
    scores[[3, 5]] = score, 40.5
    (flag,) = latent_flags(scores, n_samples=4, calibration=calibration)
    assert (flag.code, flag.severity, flag.atoms) == ("latent-density-low", severity, atoms)
    assert (flag.metric, flag.value, flag.unit) == ("latent_score_max", score, "nat")
    assert flag.threshold == LATENT_CANDIDATE * (FAILED if severity == "failed" else 1.0)
    assert (flag.threshold_source, flag.calibration_id) == ("error-target", calibration.identity)
    assert flag.coverage == (1.0 if severity == "failed" else 0.98)


def test_a_dense_environment_raises_nothing(calibration: Calibration) -> None:
    assert latent_flags(np.full(N_ATOMS, 40.0), n_samples=4, calibration=calibration) == ()


def test_a_single_sample_is_judged_by_the_density_with_the_threshold_of_two(
    calibration: Calibration,
) -> None:
    scores = np.full(N_ATOMS, 79.0)
    assert latent_flags(scores, n_samples=2, calibration=calibration) == ()
    assert latent_flags(scores, n_samples=1, calibration=calibration) == ()
    assert latent_flags(scores + 2.0, n_samples=1, calibration=calibration) != ()


def test_a_rule_without_threshold_raises_nothing(calibration: Calibration) -> None:
    silent = without(
        calibration, force_epistemic_max=None, energy_epistemic=None, latent_score_max=None
    )
    assert judged(uncertain(force=9.0, energy=9.0), silent) == {}
    assert latent_flags(np.full(N_ATOMS, 1e9), n_samples=4, calibration=silent) == ()


def test_a_bound_of_the_metric_itself_says_so(calibration: Calibration) -> None:
    document = calibration.model_dump() | {"target": None, "flag_level": 0.975}
    for entry in document["entries"]:
        entry["force_epistemic_max"] |= {"error_per_unit": None, "error_coverage": None}
    older = Calibration.model_validate(document)
    flag = judged(uncertain(force=0.2), older)["force-epistemic-high"]
    assert flag.threshold_source == "calibration"
