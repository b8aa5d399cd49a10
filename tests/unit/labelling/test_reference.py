"""The registry is closed, names what is wrong, and says how to install what is missing."""

import sys
from typing import get_args

import numpy as np
import pytest
from ase import Atoms

from posterion.errors import ConfigurationError
from posterion.labelling import cli
from posterion.labelling.failures import CalculatorUnavailable
from posterion.labelling.reference import (
    CALCULATORS,
    LennardJonesReference,
    PyscfReference,
    Reference,
    TbliteReference,
    chosen_reference,
)
from posterion.structures.ase_io import atoms_from_structure, read_frames
from tests.support.data import real_file

STEP = 1e-3
"""Of finite differences, Angstrom."""


def test_settings_are_read_from_text() -> None:
    reference = chosen_reference("pyscf", ["xc=B3LYP", "density-fitting=false", "grid_level=4"])
    assert reference == PyscfReference(xc="B3LYP", density_fitting=False, grid_level=4)


@pytest.mark.parametrize(
    ("kind", "option", "said"),
    [
        ("orca", "xc=PBE", "expected one of the calculators tblite, pyscf"),
        ("tblite", "basis=def2-SVP", "tblite has no setting 'basis'; it has method, accuracy"),
        ("tblite", "method=PM6", "tblite, method: Input should be 'GFN2-xTB'"),
        ("pyscf", "grid_level=12", "pyscf, grid_level: "),
        ("pyscf", "xc", "expected a setting of the form key=value, got 'xc'"),
        ("emt", "kind=pyscf", "expected a setting of the form key=value, got 'kind=pyscf'"),
    ],
)
def test_wrong_choice_is_named(kind: str, option: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match="^" + said.replace("(", r"\(")):
        chosen_reference(kind, [option])


@pytest.mark.parametrize("kind", ["tblite", "pyscf"])
def test_missing_program_names_the_extra(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.partition(".")[0] == kind] or [kind]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, kind, None)
    with pytest.raises(CalculatorUnavailable, match=rf"pip install 'posterion\[{kind}\]'"):
        chosen_reference(kind).calculator()
    assert CalculatorUnavailable.code == "calculator-unavailable"


def test_every_calculator_says_its_level_and_settings_change_it() -> None:
    pytest.importorskip("tblite")
    pytest.importorskip("pyscf")
    levels = {chosen_reference(kind).level_of_theory for kind in CALCULATORS}
    levels |= {
        TbliteReference(method="GFN1-xTB").level_of_theory,
        PyscfReference(dispersion="d3bj").level_of_theory,
        PyscfReference(density_fitting=False).level_of_theory,
        LennardJonesReference(sigma=2.0).level_of_theory,
    }
    assert len(levels) == len(CALCULATORS) + 4
    assert PyscfReference().level_of_theory.startswith(
        "PBE/def2-SVP, fitted with def2-universal-jfit, grid level 3, PySCF "
    )


@pytest.mark.parametrize("xc", ["HF", "B3LYP", "PBE0"])
def test_exact_exchange_has_its_own_fitting_basis(xc: str) -> None:
    pytest.importorskip("pyscf")
    assert PyscfReference(xc=xc).fitting_basis == "def2-universal-jkfit"
    assert PyscfReference(xc=xc, density_fitting=False).fitting_basis is None


@pytest.mark.parametrize(
    "reference",
    [
        TbliteReference(accuracy=0.01),
        PyscfReference(xc="PBE", grid_level=0),
        PyscfReference(xc="B88,P86VWN-VWN5+PW_MOD", dispersion="d3bj:bp86", grid_level=0),
        PyscfReference(xc="HF", density_fitting=False),
        LennardJonesReference(sigma=0.7),
    ],
)
def test_forces_are_the_gradient_of_the_energy(reference: Reference) -> None:
    """The coarsest grid makes a missing response of the grid visible."""
    pytest.importorskip("tblite")
    pytest.importorskip("pyscf")
    atoms = Atoms("OH", [[0.0, 0.1, 0.0], [0.3, 0.5, 0.85]])
    atoms += Atoms("H", [[-0.5, -0.6, 0.6]])
    atoms.calc = reference.calculator()
    forces = atoms.get_forces()
    energies = []
    for step in (STEP, -STEP):
        moved = atoms.copy()
        moved.positions[1, 2] += step
        moved.calc = reference.calculator()
        energies.append(moved.get_potential_energy())
    assert forces[1, 2] == pytest.approx((energies[1] - energies[0]) / (2 * STEP), abs=1e-3)
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "reference", "apart"),
    [
        ("rmd17_ethanol_test01_dev.extxyz", PyscfReference(grid_level=2), 1.0),
        (
            "ammonia_bp86_low.extxyz",
            PyscfReference(xc="B88,P86VWN-VWN5+PW_MOD", dispersion="d3bj:bp86", grid_level=4),
            0.5,
        ),
    ],
)
def test_published_labels_are_reproduced(
    name: str, reference: PyscfReference, apart: float
) -> None:
    """Forces made with another program, to ``apart`` meV/Angstrom (root mean square)."""
    pytest.importorskip("pyscf")
    published = read_frames(real_file(name))[0]
    again = atoms_from_structure(published.structure)
    again.calc = reference.calculator()
    error = 1e3 * (again.get_forces() - published.forces)
    assert np.sqrt(np.mean(error**2)) < apart


def test_help_names_every_setting() -> None:
    *_, option = get_args(cli.Settings)
    for name, settings in CALCULATORS.items():
        own = option.help.partition(f"{name}: ")[2].partition(". ")[0].rstrip(".")
        known = [key for key in settings.model_fields if key != "kind"]
        assert [key for key in own.split(", ") if key] == known
