"""Barriers are found on a potential whose barrier is known, and their intervals cover."""

from collections.abc import Sequence

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from benchmarks.inversion_path import Answers, FloatArray, barrier_of, climb, mirrored

HEIGHTS = np.array([0.20, 0.25, 0.30, 0.33])
"""Barriers of the samples, eV; the mean of them is the barrier of the mean."""

BEND = 0.4
"""The path bows by so much at the saddle, Angstrom."""


def double_well(images: Sequence[Atoms]) -> Answers:
    """One atom; E = h (x^2 - 1)^2 + 2 (y - b (1 - x^2))^2, the saddle at x = 0, y = b."""
    x, y, _ = np.stack([image.positions[0] for image in images]).T
    off = y - BEND * (1 - x**2)
    height = HEIGHTS.mean()
    forces = np.zeros((len(images), 1, 3))
    forces[:, 0, 0] = -4 * height * x * (x**2 - 1) - 8 * BEND * x * off
    forces[:, 0, 1] = -4 * off
    samples = HEIGHTS * (x**2 - 1)[:, None] ** 2 + 2 * off[:, None] ** 2
    return Answers(
        energies=samples.mean(axis=1),
        forces=forces,
        sample_energies=samples,
        epistemic=2.0 * samples.std(axis=1, ddof=1),
        failed=np.zeros(len(images), dtype=np.bool_),
    )


def test_the_climbing_band_finds_a_known_saddle_with_one_request_per_iteration() -> None:
    asked: list[int] = []

    def ask(images: Sequence[Atoms]) -> Answers:
        asked.append(len(images))
        return double_well(images)

    first, last = (Atoms("H", positions=[[x, 0.0, 0.0]]) for x in (-1.0, 1.0))
    path = climb(first, last, ask, n_images=5, largest_force=1e-3)
    assert path.residual < 1e-3
    assert asked == [5] * path.n_requests
    top = path.images[int(path.answers.energies.argmax())]
    # A force of 1e-3 eV/Angstrom over the softest curvature, 4 h - 8 b^2 or 4 eV/Angstrom^2.
    assert top.positions[0] == pytest.approx([0.0, BEND, 0.0], abs=1e-2)
    barrier = barrier_of(path.answers)
    assert barrier.value == pytest.approx(HEIGHTS.mean(), abs=1e-5)
    assert barrier.per_sample == pytest.approx(HEIGHTS, abs=1e-5)


def answers(heights: FloatArray) -> Answers:
    line = [Atoms("H", positions=[[x, BEND * (1 - x**2), 0.0]]) for x in (-1.0, -0.5, 0.0, 0.5)]
    found = double_well(line)
    samples = found.sample_energies[:, :1] / HEIGHTS[0] * heights
    spread = samples.std(axis=1, ddof=1) if heights.size > 1 else np.zeros(len(line))
    return Answers(
        energies=samples.mean(axis=1),
        forces=found.forces,
        sample_energies=samples,
        epistemic=3.0 * spread,
        failed=found.failed,
    )


def test_one_sample_has_a_barrier_and_no_interval() -> None:
    barrier = barrier_of(answers(np.array([0.25])))
    assert barrier.value == pytest.approx(0.25)
    assert (barrier.std, barrier.interval, barrier.calibrated_interval) == (None, None, None)


def test_calibration_widens_the_interval_about_the_same_centre() -> None:
    barrier = barrier_of(answers(HEIGHTS))
    assert barrier.std == pytest.approx(HEIGHTS.std(ddof=1))
    assert barrier.calibration == pytest.approx(3.0)
    assert barrier.interval is not None
    assert barrier.calibrated_interval is not None
    (low, high), (lowest, highest) = barrier.interval, barrier.calibrated_interval
    assert low + high == pytest.approx(lowest + highest)
    assert highest - lowest == pytest.approx(3.0 * (high - low))


def test_nine_of_ten_further_draws_lie_in_the_interval() -> None:
    rng = np.random.default_rng(3)
    n_trials, inside = 1000, 0
    for _ in range(n_trials):
        *drawn, further = rng.normal(0.25, 0.02, size=9)
        interval = barrier_of(answers(np.array(drawn))).interval
        assert interval is not None
        inside += interval[0] <= further <= interval[1]
    # Four standard errors of a binomial fraction.
    assert inside / n_trials == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / n_trials))


def test_the_mirror_image_of_ammonia_is_its_inversion() -> None:
    pyramid = molecule("NH3")
    pyramid.rotate(40, (1, 2, 3))
    image = mirrored(pyramid)
    assert image.get_all_distances() == pytest.approx(pyramid.get_all_distances())
    midway = 0.5 * (image.positions + pyramid.positions)
    assert np.linalg.svd(midway - midway.mean(axis=0))[1][2] == pytest.approx(0.0, abs=1e-9)
    handed = [np.linalg.det(each.positions[1:] - each.positions[0]) for each in (pyramid, image)]
    assert handed[0] == pytest.approx(-handed[1])


def test_atoms_on_a_line_have_no_mirror_plane() -> None:
    line = Atoms("NH3", positions=[[0, 1, 0], [0, 0, 0], [1, 0, 0], [2, 0, 0]])
    with pytest.raises(ValueError, match="line"):
        mirrored(line)
