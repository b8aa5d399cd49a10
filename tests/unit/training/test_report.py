"""A model card says what the manifest says, and its pictures are pictures."""

from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import imread
from pydantic import JsonValue

from posterion.figures.calibration import binned_errors
from posterion.structures.structure import Structure
from posterion.training.model_card import write_model_card
from posterion.training.report import Report, make_report, report_metrics
from posterion.training.report_input import ReportInput
from posterion.uncertainty.calibration import Calibration
from posterion.uncertainty.domain import fit_domain
from posterion.uncertainty.fitting import fit_calibration, with_measured_coverage
from tests.support.banks import ethanol
from tests.support.gaussian_bank import gaussian_held_out

FITTED, REPORTED = (f"sha256:{letter * 64}" for letter in "ab")
N_FRAMES = 100
FACTOR = 2.0


@pytest.fixture(scope="module")
def given() -> ReportInput:
    held_out = gaussian_held_out(N_FRAMES, factor=FACTOR, seed=1)
    fitted = fit_calibration(
        gaussian_held_out(N_FRAMES, factor=FACTOR), dataset_digest=FITTED, date="2026-01-01"
    )
    return ReportInput(
        name="ethanol",
        description="A bank whose errors are known.",
        licence="CC0-1.0",
        level_of_theory="PBE | tight",
        created_at="2026-01-01T00:00:00Z",
        method="sghmc",
        periodic=False,
        held_out=held_out,
        calibration=with_measured_coverage(fitted, held_out, dataset_digest=REPORTED),
        domain=fit_domain([ethanol()], cutoff=4.5),
        datasets=[
            {"role": "calibration", "source": "drawn", "n_frames": N_FRAMES, "digest": FITTED},
            {"role": "report", "source": "drawn", "n_frames": N_FRAMES, "digest": REPORTED},
        ],
        network={"elements": [1, 6, 8], "cutoff": 4.5, "n_layers": 2},
        sampler={"friction": 0.1, "chains": [0, 1]},
        diagnostics={"t_kin": 1.03145, "r_hat": {"within": 1.05}},
        outcome="2 chains x 6 samples",
        meaning="Draws from a posterior.",
        reading="R-hat near 1 is wanted.",
        software={"torch": "2.13"},
    )


@pytest.fixture(scope="module")
def report(given: ReportInput) -> Report:
    return make_report(given)


@pytest.fixture(scope="module")
def card(report: Report) -> str:
    return report.files["README.md"].decode()


def number(metrics: Mapping[str, JsonValue], name: str) -> float:
    value = metrics[name]
    assert isinstance(value, float)
    return value


def test_metrics_are_those_of_the_mean_prediction(given: ReportInput, report: Report) -> None:
    held_out = given.held_out
    force_error = held_out.forces.mean(axis=0) - held_out.force_reference
    energy_error = held_out.energies.mean(axis=0) - held_out.energy_reference
    assert number(report.metrics, "force_mae_mev_per_angstrom") == pytest.approx(
        1e3 * np.abs(force_error).mean()
    )
    assert number(report.metrics, "energy_rmse_mev") == pytest.approx(
        1e3 * np.sqrt((energy_error**2).mean())
    )
    assert number(report.metrics, "energy_mae_mev_per_atom") == pytest.approx(
        1e3 * np.abs(energy_error / held_out.n_atoms).mean()
    )


def test_coverage_is_that_of_the_calibration(given: ReportInput, report: Report) -> None:
    entry = given.calibration.entries[-1]
    coverage = report.metrics["force_coverage"]
    assert isinstance(coverage, dict)
    assert coverage["0.90"] == entry.forces.coverage
    # Five standard errors of a fraction of 0.68 over 1500 components, fitted and measured.
    assert coverage["0.68"] == pytest.approx(0.68, abs=5 * np.sqrt(2 * 0.68 * 0.32 / 1500))
    assert entry.force_epistemic_max is not None
    flagged = number(report.metrics, "force_flagged_fraction")
    assert flagged == pytest.approx(1.0 - entry.force_epistemic_max.candidate_coverage)
    assert number(report.metrics, "flagged_fraction") >= flagged
    assert report.metrics["latent_flagged_fraction"] is None


def test_the_card_says_what_a_missing_flag_promises(given: ReportInput, card: str) -> None:
    assert "at most 0.2 eV/Å" in card
    assert "with a confidence of 95%" in card
    older = {"flag_level": 0.975, "target": None}
    calibration = Calibration.model_validate(given.calibration.model_dump() | older)
    again = write_model_card(replace(given, calibration=calibration), report_metrics(given))
    assert "fraction of ordinary structures" in again


def test_a_bank_without_epistemic_part_has_a_card(given: ReportInput) -> None:
    held_out = given.held_out
    alone = replace(
        held_out,
        energies=held_out.energies[:1],
        forces=held_out.forces[:1],
        force_std=held_out.force_std[:1],
    )
    calibration = fit_calibration(alone, fewest_samples=1, dataset_digest=FITTED, date="2026-01-01")
    made = make_report(replace(given, held_out=alone, calibration=calibration))
    assert made.metrics["force_flagged_fraction"] is None
    assert made.metrics["flagged_fraction"] == 0.0
    assert "no such rule" in made.files["README.md"].decode()


def test_an_uncalibrated_bank_scores_worse(given: ReportInput, report: Report) -> None:
    entry = given.calibration.entries[-1]
    document = given.calibration.model_dump()
    document["entries"][-1]["forces"]["factor"] = entry.forces.factor / FACTOR
    calibration = Calibration.model_validate(document)
    bad = report_metrics(replace(given, calibration=calibration))
    assert number(bad, "force_nll") > number(report.metrics, "force_nll")
    assert number(bad, "force_miscalibration_area") > number(
        report.metrics, "force_miscalibration_area"
    )


def test_the_card_names_data_calibration_and_limits(given: ReportInput, card: str) -> None:
    assert card.startswith("# ethanol\n")
    for digest in (FITTED, REPORTED):
        assert digest.removeprefix("sha256:")[:16] in card
    assert given.calibration.identity in card
    assert f"{given.calibration.entries[-1].forces.factor:.3f} (forces)" in card
    assert "H, C, O" in card
    assert "C2H6O" in card
    for section in ("Data", "Sampling", "Accuracy", "Calibration", "Intended use and limits"):
        assert f"\n## {section}\n" in card
    assert "1.031" in card


def test_every_row_of_a_table_has_as_many_cells_as_its_header(card: str) -> None:
    tables = [block.splitlines() for block in card.split("\n\n") if block.startswith("|")]
    assert len(tables) >= 8
    for table in tables:
        cells = {line.replace("\\|", "").count("|") for line in table}
        assert len(cells) == 1, table


def test_every_picture_of_the_card_is_a_readable_picture(report: Report, card: str) -> None:
    pictures = [name for name in report.files if name.endswith(".png")]
    assert sorted(pictures) == ["error_against_uncertainty.png", "parity.png", "reliability.png"]
    for name in pictures:
        assert f"]({name})" in card
        pixels = imread(BytesIO(report.files[name]))
        assert pixels.shape[0] > 400
        # Drawn on, not blank: white is less than everything and more than half.
        white = np.mean((pixels[..., :3] == 1.0).all(axis=-1))
        assert 0.5 < white < 0.99


def test_the_same_bank_has_the_same_report(given: ReportInput, report: Report) -> None:
    again = make_report(given)
    assert again.metrics == report.metrics
    assert again.files == report.files


def test_bins_of_a_calibrated_gaussian_lie_on_the_diagonal() -> None:
    rng = np.random.default_rng(0)
    total = rng.uniform(0.1, 1.0, size=24_000)
    error = rng.normal(scale=total)
    predicted, observed = binned_errors(total, error)
    assert len(predicted) == 12
    # Five standard errors of an RMS over 2000 values: 5 / sqrt(2 x 2000).
    np.testing.assert_allclose(observed, predicted, rtol=5 / np.sqrt(4000))


def test_constant_uncertainty_has_no_rank_correlation(given: ReportInput) -> None:
    held_out = replace(
        given.held_out,
        forces=np.repeat(given.held_out.forces[:1], given.held_out.n_samples, axis=0),
    )
    metrics = report_metrics(replace(given, held_out=held_out))
    assert metrics["force_error_spread_rank_correlation"] is None


def test_a_structure_without_carbon_has_an_alphabetical_formula(
    given: ReportInput, report: Report
) -> None:
    water = Structure(
        atomic_numbers=np.array([8, 1, 1]),
        positions=np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]),
    )
    card = write_model_card(replace(given, domain=fit_domain([water], cutoff=4.5)), report.metrics)
    assert "of composition H2O." in card


def test_metrics_hold_the_scores_of_the_predictive_distribution(report: Report) -> None:
    metrics = report.metrics
    for quantity, unit in (("force", "mev_per_angstrom"), ("energy", "mev")):
        # A Gaussian truth scores a little better under its moments than under eight samples.
        gaussian = number(metrics, f"{quantity}_nll")
        assert number(metrics, f"{quantity}_nll_mixture") == pytest.approx(gaussian, abs=0.05)
        mae = number(metrics, f"{quantity}_mae_{unit}")
        # For any Gaussian, CRPS = MAE / sqrt(2) if it is the true one.
        crps = number(metrics, f"{quantity}_crps_{unit}")
        assert crps == pytest.approx(mae / np.sqrt(2.0), rel=0.1)
        cnll = metrics[f"{quantity}_cnll"]
        assert isinstance(cnll, dict)
        assert set(cnll) == {"epistemic", "total", "aleatoric"}  # no latent density
    detection = metrics["force_error_detection"]
    assert isinstance(detection, dict)
    assert set(detection) == {"0.1", "0.3"}
