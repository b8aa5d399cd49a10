"""A calibration finds the factor that is missing, and says how it knows."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from posterion.uncertainty.calibration import Calibration, LatentForce
from posterion.uncertainty.fitting import fit_calibration, with_measured_coverage
from posterion.uncertainty.held_out import HeldOut
from posterion.uncertainty.scores import interval_coverage
from tests.support.gaussian_bank import gaussian_held_out

DIGEST = f"sha256:{'a' * 64}"
OTHER_DIGEST = f"sha256:{'b' * 64}"
N_STRUCTURES = 400
N_ATOMS = 5
# Standard error of the 90 % quantile of |z| over n values, relative to 1.645:
# sqrt(0.9 x 0.1 / n) / (2 phi(1.645) 1.645) = 0.884 / sqrt(n). Five of them.
FORCE_ERROR = 5 * 0.884 / np.sqrt(N_STRUCTURES * N_ATOMS * 3)
ENERGY_ERROR = 5 * 0.884 / np.sqrt(N_STRUCTURES)


def calibrated(factor: float, *, n_structures: int = N_STRUCTURES, seed: int = 0) -> Calibration:
    held_out = gaussian_held_out(n_structures, factor=factor, n_atoms=N_ATOMS, seed=seed)
    return fit_calibration(held_out, dataset_digest=DIGEST, date="2026-01-01")


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_missing_factor_is_found(factor: float) -> None:
    entry = calibrated(factor).entries[-1]
    assert entry.forces.factor == pytest.approx(factor, rel=FORCE_ERROR)
    assert entry.energy.factor == pytest.approx(factor, rel=ENERGY_ERROR)


def test_ninety_percent_of_the_fitted_components_lie_inside() -> None:
    held_out = gaussian_held_out(N_STRUCTURES, factor=2.0)
    entry = fit_calibration(held_out, dataset_digest=DIGEST, date="2026-01-01").entries[-1]
    moments = held_out.force_moments(held_out.n_samples)
    residuals = moments.mean.numpy() - held_out.force_reference
    # Both parts carry the factor, so the total does.
    epistemic = entry.forces.factor * moments.epistemic.sqrt().numpy()
    aleatoric = entry.forces.factor * moments.aleatoric.sqrt().numpy()
    coverage = interval_coverage(residuals, np.hypot(epistemic, aleatoric), level=0.90)
    assert coverage == pytest.approx(0.90, abs=1.0 / residuals.size)
    assert coverage == pytest.approx(entry.forces.coverage, abs=1e-12)


def test_frames_not_fitted_on_are_covered_as_promised() -> None:
    report = gaussian_held_out(N_STRUCTURES, factor=2.0, seed=1)
    entry = with_measured_coverage(calibrated(2.0), report, dataset_digest=OTHER_DIGEST).entries[-1]
    # Five standard errors of the fraction, fit and measurement: 5 sqrt(2 x 0.09 / n).
    assert entry.forces.coverage == pytest.approx(
        0.90, abs=5 * np.sqrt(0.18 / report.force_reference.size)
    )
    assert entry.energy.coverage == pytest.approx(0.90, abs=5 * np.sqrt(0.18 / N_STRUCTURES))


def test_fewer_samples_have_their_own_wider_factor() -> None:
    entries = calibrated(1.0).entries
    assert [entry.n_samples for entry in entries] == [2, 3, 4, 5, 6, 7, 8]
    # The mean of two samples is further from the mean of eight, and their spread is rough.
    assert entries[0].forces.factor > entries[-1].forces.factor + 2 * FORCE_ERROR / 5


def single(held_out: HeldOut) -> HeldOut:
    """The first sample alone."""
    return replace(
        held_out,
        energies=held_out.energies[:1],
        forces=held_out.forces[:1],
        force_std=held_out.force_std[:1],
    )


def test_a_method_without_epistemic_part_has_factors_and_no_spread_threshold() -> None:
    alone = single(gaussian_held_out(N_STRUCTURES, factor=1.0))
    calibration = fit_calibration(alone, fewest_samples=1, dataset_digest=DIGEST, date="2026-01-01")
    (entry,) = calibration.entries
    assert (calibration.fewest_samples, entry.n_samples) == (1, 1)
    assert entry.thresholds == {}
    moments = alone.force_moments(1)
    assert float(moments.epistemic.abs().max()) == 0.0
    coverage = interval_coverage(
        moments.mean.numpy() - alone.force_reference,
        entry.forces.factor * moments.total.sqrt().numpy(),
        level=0.90,
    )
    assert coverage == pytest.approx(0.90, abs=1.0 / alone.force_reference.size)


def test_a_sample_that_states_its_own_epistemic_part_is_enough() -> None:
    alone = single(gaussian_held_out(N_STRUCTURES, factor=1.0))
    own = np.random.default_rng(2).uniform(0.1, 0.5, size=alone.force_std.shape)
    stated = replace(alone, force_epistemic_std=own)
    (entry,) = fit_calibration(
        stated, fewest_samples=1, dataset_digest=DIGEST, date="2026-01-01"
    ).entries
    assert set(entry.thresholds) == {"force_epistemic_max"}
    variance = stated.force_moments(1).epistemic.numpy()
    np.testing.assert_allclose(variance, np.repeat(own[0, :, None] ** 2, 3, axis=1))


def test_a_later_field_that_is_absent_changes_no_identity() -> None:
    calibration = calibrated(1.0, n_structures=20)
    assert calibration.latent_force is None
    document = calibration.model_dump(mode="json")
    del document["latent_force"], document["flag_level"]
    assert Calibration.model_validate(document).identity == calibration.identity
    scaled = calibration.model_copy(update={"latent_force": LatentForce(scale=0.1)})
    assert Calibration.model_validate(scaled.model_dump()).identity != calibration.identity


def test_a_calibration_has_one_rule_for_its_flags() -> None:
    document = calibrated(1.0, n_structures=20).model_dump(mode="json")
    for changes in ({"flag_level": 0.975}, {"target": None}):
        with pytest.raises(ValidationError, match="either flag_level or target"):
            Calibration.model_validate({**document, **changes})


def test_too_few_frames_are_refused_by_number() -> None:
    with pytest.raises(ValueError, match="at least 19 held-out frames, got 18"):
        calibrated(1.0, n_structures=18)
    assert calibrated(1.0, n_structures=19).fitted_on.n_frames == 19


def test_one_sample_is_refused_where_the_spread_is_of_samples() -> None:
    alone = single(gaussian_held_out(20, factor=1.0))
    with pytest.raises(ValueError, match="at least two samples, got 1"):
        fit_calibration(alone, dataset_digest=DIGEST, date="2026-01-01")


def test_the_level_is_stated_where_frames_are_few() -> None:
    threshold = calibrated(1.0, n_structures=20).entries[-1].force_epistemic_max
    assert threshold is not None
    assert threshold.level == 20 / 21


def test_the_identity_survives_json_and_follows_the_contents() -> None:
    calibration = calibrated(1.0, n_structures=20)
    again = Calibration.model_validate_json(calibration.model_dump_json())
    assert again == calibration
    assert again.identity == calibration.identity
    report = gaussian_held_out(20, factor=1.0, seed=1)
    measured = with_measured_coverage(calibration, report, dataset_digest=OTHER_DIGEST)
    assert measured.identity != calibration.identity
    assert measured.entries[-1].forces.factor == calibration.entries[-1].forces.factor
    assert measured.fitted_on == calibration.fitted_on


def test_a_report_of_other_samples_is_refused() -> None:
    report = gaussian_held_out(20, factor=1.0, n_samples=3)
    with pytest.raises(ValueError, match="of 8 samples, the report of 3"):
        with_measured_coverage(calibrated(1.0), report, dataset_digest=OTHER_DIGEST)


def test_a_number_of_samples_outside_the_fit_is_refused() -> None:
    calibration = calibrated(1.0, n_structures=20)
    assert calibration.for_samples(5).n_samples == 5
    for n_samples in (1, 9):
        with pytest.raises(ValueError, match=f"covers 2 to 8 samples, got {n_samples}"):
            calibration.for_samples(n_samples)


def test_entries_with_a_gap_are_refused() -> None:
    document = calibrated(1.0, n_structures=20).model_dump(mode="json")
    del document["entries"][1]
    with pytest.raises(ValidationError, match="entries must be for n_samples"):
        Calibration.model_validate(document)


def test_held_out_arrays_must_fit_together() -> None:
    held_out = gaussian_held_out(4, factor=1.0)
    with pytest.raises(ValueError, match=r"force_reference must have shape \(20, 3\)"):
        replace(held_out, force_reference=np.zeros((19, 3)))
    with pytest.raises(ValueError, match="energy_reference holds a value that is not finite"):
        replace(held_out, energy_reference=np.full(4, np.nan))
