"""Where a LAMMPS script asks for forces, and the virial it is told."""

from dataclasses import replace

import numpy as np
import pytest

from posterion_client import InvalidArgument
from posterion_client.lammps._force import Box, virial_of
from posterion_client.lammps._runner import split_script
from posterion_client.md import Evaluation

LINE = "fix posterion all external pf/callback 1 1\n"


def test_a_script_is_parted_behind_its_line() -> None:
    before, fix_id, after = split_script(f"units metal # {LINE}{LINE}run 1\n")
    assert (before, fix_id, after) == (f"units metal # {LINE}{LINE}", "posterion", "run 1\n")


def test_a_line_may_go_on() -> None:
    text = "fix here all &\n  external &  # the forces\n  pf/callback 1 1\nrun 1"
    assert split_script(text)[1:] == ("here", "run 1")


@pytest.mark.parametrize(
    "line", ["fix f water external pf/callback 1 1", LINE.replace("1 1", "2 2")]
)
def test_forces_are_those_of_all_atoms_at_every_step(line: str) -> None:
    with pytest.raises(InvalidArgument, match="all atoms at every step"):
        split_script(line)


@pytest.mark.parametrize("text", ["", "run 1\n", "fix f all external pf/array 1\n"])
def test_a_script_without_the_line(text: str) -> None:
    with pytest.raises(InvalidArgument, match="the script needs a line"):
        split_script(text)


def said(stress: np.ndarray | None, forces: np.ndarray) -> Evaluation:
    """An evaluation of two atoms."""
    return Evaluation(
        energy=0.0,
        forces=forces,
        stress=stress,
        uncertainty=None,
        candidate_flags=(),
        failed_flags=(),
        n_samples=1,
    )


def test_the_virial_is_minus_stress_times_volume_or_that_of_the_forces() -> None:
    generator = np.random.default_rng(0)
    positions = generator.normal(size=(2, 3))
    forces = np.outer([1.0, -1.0], positions[0] - positions[1])
    stress = generator.normal(size=(3, 3))
    box = Box(cell=np.diag([2.0, 3.0, 4.0]), pbc=(True, True, True))
    virial = virial_of(said(stress, forces), positions, box)
    assert virial is not None
    assert np.allclose(virial, -24.0 * stress)
    free = virial_of(said(None, forces), positions, replace(box, pbc=(False, False, False)))
    assert free is not None
    # Two atoms that push each other apart are under pressure.
    apart = positions[0] - positions[1]
    assert np.allclose(free, np.outer(apart, apart))
    slab = replace(box, pbc=(True, True, False))
    assert virial_of(said(None, forces), positions, slab) is None
