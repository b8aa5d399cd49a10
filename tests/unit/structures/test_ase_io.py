"""Labelled frames come out of files as they went in, or the error names file and frame."""

from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray

from posterion.errors import DatasetError
from posterion.structures.ase_io import (
    KCAL_PER_MOL,
    LabelledFrame,
    atoms_from_structure,
    read_frames,
    read_frames_apart,
    structure_from_atoms,
)
from posterion.structures.structure import Structure
from tests.support.structures import WATER, water, zoo

ZOO = zoo()
N_FRAMES = 3


def labelled(structure: Structure, *, energy: float = -1.5, force: float = 0.25) -> Atoms:
    return with_labels(
        atoms_from_structure(structure), energy, np.full((structure.n_atoms, 3), force)
    )


def with_labels(atoms: Atoms, energy: float, forces: NDArray[np.float64]) -> Atoms:
    atoms.calc = SinglePointCalculator(  # type: ignore[no-untyped-call]
        atoms, energy=energy, forces=forces
    )
    return atoms


def rmd17(**changes: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Arrays as rMD17 ships them; three frames of water."""
    rng = np.random.default_rng(5)
    arrays: dict[str, NDArray[Any]] = {
        "nuclear_charges": np.array([8, 1, 1], dtype=np.uint8),
        "coords": WATER + rng.normal(scale=0.01, size=(N_FRAMES, 3, 3)),
        "energies": rng.normal(scale=10.0, size=N_FRAMES) - 47_000.0,
        "forces": rng.normal(scale=20.0, size=(N_FRAMES, 3, 3)),
        "old_indices": np.arange(N_FRAMES),
    }
    return arrays | changes


@pytest.mark.parametrize("name", ZOO)
def test_structure_survives_ase(name: str) -> None:
    structure = ZOO[name]
    back = structure_from_atoms(atoms_from_structure(structure))
    np.testing.assert_array_equal(back.atomic_numbers, structure.atomic_numbers)
    np.testing.assert_array_equal(back.positions, structure.positions)
    assert back.pbc == structure.pbc
    if structure.cell is None:
        assert back.cell is None
    else:
        np.testing.assert_array_equal(back.cell, structure.cell)


def test_charge_and_spin_come_from_info() -> None:
    atoms = Atoms("OH", positions=WATER[:2], info={"charge": -1, "spin_multiplicity": 3})
    structure = structure_from_atoms(atoms)
    assert (structure.charge, structure.spin_multiplicity) == (-1, 3)


def test_extxyz_keeps_labels_order_and_cells(tmp_path: Path) -> None:
    path = tmp_path / "frames.extxyz"
    names = ("molecule", "triclinic", "slab")
    ase.io.write(path, [labelled(ZOO[n], energy=i) for i, n in enumerate(names)])
    frames = read_frames(path)
    assert [frame.energy for frame in frames] == [0.0, 1.0, 2.0]
    for frame, name in zip(frames, names, strict=True):
        np.testing.assert_allclose(frame.structure.positions, ZOO[name].positions, atol=1e-8)
        np.testing.assert_allclose(frame.forces, 0.25)
        assert frame.structure.pbc == ZOO[name].pbc


def test_rmd17_archive_is_converted_from_kcal_per_mol(tmp_path: Path) -> None:
    arrays = rmd17()
    np.savez(tmp_path / "water.npz", allow_pickle=False, **arrays)
    frames = read_frames(tmp_path / "water.npz")
    assert len(frames) == N_FRAMES
    for number, frame in enumerate(frames):
        assert frame.energy == pytest.approx(arrays["energies"][number] * KCAL_PER_MOL)
        np.testing.assert_allclose(frame.forces, arrays["forces"][number] * KCAL_PER_MOL)
        np.testing.assert_array_equal(frame.structure.positions, arrays["coords"][number])
        np.testing.assert_array_equal(frame.structure.atomic_numbers, [8, 1, 1])


COINCIDENT = WATER[[0, 0, 1]]
BAD_ARCHIVES: dict[str, tuple[dict[str, NDArray[Any]], str]] = {
    "force missing for an atom": ({"forces": np.zeros((N_FRAMES, 2, 3))}, "got .3, 3, 3. and"),
    "energy missing for a frame": ({"energies": np.zeros(N_FRAMES - 1)}, "2 energies"),
    "energy NaN": ({"energies": np.array([0.0, np.nan, 0.0])}, "frame 1: expected finite"),
    "force infinite": ({"forces": np.full((N_FRAMES, 3, 3), np.inf)}, "frame 0: expected finite"),
    "atoms coincide": ({"coords": np.array([WATER, WATER, COINCIDENT])}, "frame 2: /positions/1"),
    "pickled": ({"energies": np.array([None] * N_FRAMES)}, "allow_pickle"),
}


@pytest.mark.parametrize("case", BAD_ARCHIVES)
def test_wrong_archive_is_refused_by_name(case: str, tmp_path: Path) -> None:
    changes, message = BAD_ARCHIVES[case]
    path = tmp_path / "bad.npz"
    np.savez(path, allow_pickle=True, **rmd17(**changes))
    with pytest.raises(DatasetError, match=message) as caught:
        read_frames(path)
    assert str(path) in caught.value.detail


@pytest.mark.parametrize("missing", ["nuclear_charges", "coords", "energies", "forces"])
def test_archive_without_an_array_names_it(missing: str, tmp_path: Path) -> None:
    arrays = rmd17()
    del arrays[missing]
    np.savez(tmp_path / "part.npz", allow_pickle=False, **arrays)
    with pytest.raises(DatasetError, match=f"but .*{missing}"):
        read_frames(tmp_path / "part.npz")


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.95])
@pytest.mark.parametrize("suffix", ["npz", "extxyz"])
def test_truncated_file_is_refused_by_name(suffix: str, kept: float, tmp_path: Path) -> None:
    path = tmp_path / f"frames.{suffix}"
    if suffix == "npz":
        np.savez_compressed(path, allow_pickle=False, **rmd17())
    else:
        ase.io.write(path, [labelled(ZOO["molecule"])] * N_FRAMES)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DatasetError, match="frames") as caught:
        read_frames(path)
    assert caught.value.code == "invalid-dataset"


def test_single_array_is_no_archive(tmp_path: Path) -> None:
    with (tmp_path / "array.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DatasetError, match=r"array\.npz"):
        read_frames(tmp_path / "array.npz")


def test_frame_without_labels_is_named(tmp_path: Path) -> None:
    path = tmp_path / "frames.extxyz"
    bare = atoms_from_structure(ZOO["molecule"])
    ase.io.write(path, [labelled(ZOO["molecule"]), bare])
    with pytest.raises(DatasetError, match=r"frame 1: .*energy and forces is missing"):
        read_frames(path)


@pytest.mark.parametrize("label", [{"energy": np.nan}, {"force": np.inf}])
def test_label_that_is_no_number_is_named(label: dict[str, float], tmp_path: Path) -> None:
    path = tmp_path / "frames.extxyz"
    ase.io.write(path, [labelled(ZOO["molecule"]), labelled(ZOO["molecule"], **label)])
    with pytest.raises(DatasetError, match="frame 1: expected finite labels"):
        read_frames(path)


def test_invalid_structure_in_a_file_is_named_by_frame(tmp_path: Path) -> None:
    path = tmp_path / "frames.extxyz"
    collapsed = with_labels(Atoms("OH2", positions=COINCIDENT), 0.0, np.zeros((3, 3)))
    ase.io.write(path, [labelled(ZOO["molecule"]), collapsed])
    with pytest.raises(DatasetError, match="frame 1: /positions/1: expected atoms at least"):
        read_frames(path)


@pytest.mark.parametrize("content", [b"", b"hello\nworld\n", b"\x00\xff" * 40])
def test_file_that_holds_no_frames_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "frames.extxyz"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="cannot read it"):
        read_frames(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"absent\.extxyz: expected a data file"):
        read_frames(tmp_path / "absent.extxyz")


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"charge": 1}, "neutral singlet, got charge 1"),
        ({"spin_multiplicity": 3}, "spin multiplicity 3"),
        ({"charge": 0.5}, "whole number under info"),
        ({"charge": "plus"}, "whole number under info"),
    ],
)
def test_frame_that_is_no_neutral_singlet_is_named(
    info: dict[str, object], message: str, tmp_path: Path
) -> None:
    atoms = labelled(water())
    atoms.info.update(info)
    ase.io.write(tmp_path / "ion.extxyz", [labelled(water()), atoms])
    with pytest.raises(DatasetError, match=f"frame 1: .*{message}"):
        read_frames(tmp_path / "ion.extxyz")


def test_a_frame_that_cannot_be_used_leaves_the_others(tmp_path: Path) -> None:
    bare = atoms_from_structure(water())
    charged = labelled(water())
    charged.info["charge"] = 1
    path = tmp_path / "mixed.extxyz"
    ase.io.write(path, [labelled(water()), bare, charged, labelled(water(), energy=3.0)])
    first, unlabelled, ion, last = read_frames_apart(path)
    assert isinstance(first, LabelledFrame)
    assert isinstance(last, LabelledFrame)
    assert (first.energy, last.energy) == (-1.5, 3.0)
    assert isinstance(unlabelled, DatasetError)
    assert "mixed.extxyz, frame 1: expected energy" in unlabelled.detail
    assert isinstance(ion, DatasetError)
    assert "mixed.extxyz, frame 2: expected a neutral singlet" in ion.detail
    with pytest.raises(DatasetError, match="frame 1: expected energy"):
        read_frames(path)
