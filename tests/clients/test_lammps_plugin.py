"""The LAMMPS plugin: certified, the same on two ranks, halted by flags."""

import re
from pathlib import Path

import numpy as np
import pytest

from posterion_client import Client, PredictOptions, Structure
from posterion_client.selftest._native import SOURCES_VARIABLE
from tests.support.certificates import certificate_of, deviation
from tests.support.lammps_plugin import NVE, run_lmp, script, succeeded
from tests.support.md_codes import REPOSITORY
from tests.support.services import Service
from tests.support.spring_service import spring_service

pytestmark = pytest.mark.clients


def test_it_is_certified(
    bundled_service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SOURCES_VARIABLE, str(REPOSITORY / "clients"))
    certificate = certificate_of(
        "lammps-plugin", bundled_service.url, tmp_path, environment="lammps"
    )
    assert deviation(certificate, "total energy against ASE") <= 1e-6
    assert "skipped" not in {check["verdict"] for check in certificate["checks"]}


def test_two_ranks_print_what_one_prints(
    bundled_service: Service, plugin: Path, tmp_path: Path
) -> None:
    text = script(plugin, bundled_service.url, NVE.format(n_steps=50))
    alone, shared = (succeeded(text, tmp_path, ranks=ranks) for ranks in (1, 2))
    assert len(alone) == 6
    assert np.allclose(alone, shared, rtol=1e-9, atol=1e-9)


def test_real_units_are_the_same_physics(
    bundled_service: Service, plugin: Path, tmp_path: Path
) -> None:
    found = {}
    for units, step in (("metal", "0.0005"), ("real", "0.5")):
        commands = NVE.format(n_steps=20).replace("0.0005", step)
        found[units] = succeeded(
            script(plugin, bundled_service.url, commands, units=units), tmp_path
        )
    found["real"][:, [1, 2, 5, 6, 7, 11]] /= 23.060549
    found["real"][:, [3, 4]] *= 1.01325
    assert np.allclose(found["metal"][0], found["real"][0], rtol=1e-6)
    assert np.allclose(found["metal"][-1, 1], found["real"][-1, 1], rtol=1e-7)


@pytest.mark.parametrize(
    "how",
    [
        "fix npt all npt temp 300 300 0.05 tri 0 0 0.5\ntimestep 0.0005\nrun 20",
        "fix nvt all nvt temp 300 300 0.05\ntimestep 0.0005\nrun 20",
        "min_style cg\nminimize 0 1e-3 10 20",
        "fix relax all box/relax tri 0.0\nmin_style cg\nminimize 0 1e-3 10 20",
    ],
)
def test_it_drives_other_ensembles_and_minimisers(
    bundled_service: Service, plugin: Path, tmp_path: Path, how: str
) -> None:
    energies = succeeded(script(plugin, bundled_service.url, how, settings=""), tmp_path, ranks=2)
    assert np.isfinite(energies).all()
    if "minimize" in how:
        assert energies[-1, 1] < energies[0, 1]
    else:
        assert np.ptp(energies[:, -1]) < 0.01


@pytest.mark.parametrize("ranks", [1, 2])
def test_the_virial_is_the_services(tmp_path: Path, plugin: Path, ranks: int) -> None:
    """Each process holds its share, and LAMMPS adds the shares up."""
    with spring_service() as service, Client(service.url) as client:
        text = script(
            plugin,
            service.url,
            "compute w all pressure NULL virial",
            "thermo_style custom step c_w[1] c_w[2] c_w[3] c_w[4] c_w[5] c_w[6]",
            "thermo_modify format float %.12g",
            "write_dump all custom start id x y z modify sort id format float %.17g",
            "run 0",
        )
        printed = succeeded(text, tmp_path, ranks=ranks)[0, 1:]
        positions = np.loadtxt(tmp_path / "start", skiprows=9)[:, 1:]
        structure = Structure(
            numbers=np.array([8, 6, 1, 6, 1, 1, 1, 1, 1]),
            positions=positions,
            cell=[[6.8, 0, 0], [1.1, 5.8, 0], [0.7, -0.6, 5.2]],
            pbc=True,
        )
        stress = client.predict(structure, options=PredictOptions(stress=True)).stress
    assert stress is not None
    right = -1.6021765e6 * stress[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
    assert np.allclose(printed, right, rtol=1e-9)


def scaled(text: str, scale: float) -> str:
    """The same input with every atom farther from the origin by a factor."""

    def moved(match: re.Match[str]) -> str:
        return " ".join([match[1], *(str(scale * float(match[axis])) for axis in (2, 3, 4))])

    return re.sub(r"(create_atoms \d single) (\S+) (\S+) (\S+)", moved, text)


def test_a_molecule_in_free_space_has_a_virial(
    bundled_service: Service, plugin: Path, tmp_path: Path
) -> None:
    """By positions times forces; the same as the derivative along a uniform stretch."""
    outputs = []
    for scale in (0.9995, 1.0, 1.0005):
        text = script(
            plugin,
            bundled_service.url,
            "compute w all pressure NULL virial",
            "thermo_style custom step pe vol c_w",
            "thermo_modify format float %.12g",
            "run 0",
        ).replace("boundary p p p", "boundary f f f")
        moved = scaled(text, scale)
        outputs.append(succeeded(moved, tmp_path, ranks=2)[0])
    slope = (outputs[2][1] - outputs[0][1]) / 0.001
    virial = 3 * outputs[1][3] * outputs[1][2] / 1.6021765e6
    assert virial == pytest.approx(-slope, rel=1e-3)


def test_uncertainty_per_atom_is_the_services(
    bundled_service: Service, plugin: Path, tmp_path: Path
) -> None:
    dump = "dump d all custom 1 out.dump id type x y z f_p\n"
    dump += "dump_modify d sort id format float %.12g\nrun 0\n"
    printed = succeeded(script(plugin, bundled_service.url, dump), tmp_path, ranks=2)[0]
    table = np.loadtxt(tmp_path / "out.dump", skiprows=9)
    structure = Structure(
        numbers=np.array([0, 6, 1, 8])[table[:, 1].astype(int)],
        positions=table[:, 2:5],
        cell=[[6.8, 0, 0], [1.1, 5.8, 0], [0.7, -0.6, 5.2]],
        pbc=True,
    )
    with Client(bundled_service.url) as client:
        uncertainty = client.predict(structure).uncertainty
    assert uncertainty is not None
    right = np.sqrt((uncertainty.forces.epistemic**2).mean(axis=1))
    assert np.allclose(table[:, 5], right, rtol=1e-3)
    assert printed[5] == pytest.approx(uncertainty.energy.epistemic, rel=1e-3)
    assert printed[6] == pytest.approx(uncertainty.forces.max, rel=1e-3)
    assert printed[7] == pytest.approx(uncertainty.forces.rms, rel=1e-3)


def test_a_flag_halts_the_run_at_its_step(
    bundled_service: Service, plugin: Path, tmp_path: Path
) -> None:
    """The O-H bond is stretched slowly, until a flag is raised."""
    commands = [
        "velocity all set 0 0 0\ngroup h id 3\nvelocity h set 0.0 0.0 20.0",
        "fix move all nve/noforce\ntimestep 0.001\nvariable level equal f_p[4]",
    ]
    halt = "fix stop all halt 1 v_level > 0 error soft"
    free = script(plugin, bundled_service.url, *commands, "run 60", every=1)
    levels = succeeded(free, tmp_path)[:, 8]
    # fix halt looks at the ends of steps, so a flag of step 0 is seen at step 1.
    first = next(int(step) for step in np.flatnonzero(levels > 0) if step > 0)
    stopped = script(plugin, bundled_service.url, *commands, halt, "run 60", every=1)
    assert succeeded(stopped, tmp_path)[-1, 0] == first
    done = run_lmp(stopped.replace("soft", "hard"), tmp_path)
    assert done.returncode != 0
    assert "ERROR: Fix halt condition" in done.stdout
