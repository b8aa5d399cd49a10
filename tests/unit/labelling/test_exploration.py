"""Frames of the thermal ensemble, the same for the same seed, of molecules that hold together."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule

from posterion.labelling.exploration import Exploration, explore, n_fragments
from posterion.labelling.failures import ExplorationFailed
from posterion.labelling.reference import EmtReference, LennardJonesReference

PLAN = Exploration(
    n_frames=5,
    n_trajectories=2,
    temperature_K=300.0,
    spacing_fs=20.0,
    equilibration_fs=40.0,
    timestep_fs=4.0,
)


def copper() -> Atoms:
    return bulk("Cu", cubic=True)


def test_potential_energy_is_that_of_the_temperature() -> None:
    """Equipartition: half kT for each of the 3 n_atoms - 3 vibrations of a crystal.

    The mean of 100 frames of 9 vibrations is known to 5 %; copper's anharmonicity at 300 K
    is below that.
    """
    plan = replace(PLAN, n_frames=100, spacing_fs=96.0, equilibration_fs=480.0, timestep_fs=8.0)
    frames = list(explore(copper(), EmtReference(), plan))
    at_rest = copper()
    at_rest.calc = EmtReference().calculator()
    excess = [frame.get_potential_energy() - at_rest.get_potential_energy() for frame in frames]
    n_vibrations = 3 * len(at_rest) - 3
    expected = 0.5 * n_vibrations * units.kB * plan.temperature_K
    assert np.mean(excess) == pytest.approx(expected, rel=0.15)


def test_frames_are_labelled_and_say_where_they_come_from() -> None:
    frames = list(explore(copper(), EmtReference(), PLAN))
    assert [(f.info["trajectory"], f.info["time_fs"]) for f in frames] == [
        (0, 40.0), (0, 60.0), (0, 80.0), (1, 40.0), (1, 60.0),
    ]  # fmt: skip
    for frame in frames:
        assert frame.info["level_of_theory"] == EmtReference().level_of_theory
        again = frame.copy()
        again.calc = EmtReference().calculator()
        assert frame.get_potential_energy() == pytest.approx(again.get_potential_energy())
        np.testing.assert_allclose(frame.get_forces(), again.get_forces(), atol=1e-9)
        assert not frame.constraints


def test_seed_decides_everything() -> None:
    once, again, other = (
        np.array([f.positions for f in explore(copper(), EmtReference(), replace(PLAN, seed=seed))])
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(once, again)
    assert np.abs(once - other).max() > 0.01


def test_fragments_are_counted_through_the_boundary() -> None:
    water = molecule("H2O")
    assert n_fragments(water) == 1
    far = water.copy()
    far.translate([0.0, 0.0, 9.0])
    assert n_fragments(water + far) == 2
    assert n_fragments(copper()) == 1


def test_molecule_that_always_falls_apart_is_an_error() -> None:
    """Two atoms bound by a hundredth of kT."""
    weak = LennardJonesReference(epsilon=0.001, sigma=0.7)
    pair = Atoms("H2", [[0.0, 0.0, 0.0], [0.0, 0.0, 0.78]])
    plan = replace(PLAN, temperature_K=1000.0, equilibration_fs=400.0, timestep_fs=1.0)
    with pytest.raises(ExplorationFailed, match=r"^3 trajectories at 1000 K were given up"):
        list(explore(pair, weak, plan))


def test_start_that_cannot_be_computed_is_an_error() -> None:
    with pytest.raises(ExplorationFailed, match=r"^the start cannot be computed: "):
        list(explore(bulk("U", "bcc", a=3.47), EmtReference(), PLAN))
