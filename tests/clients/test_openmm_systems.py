"""What OpenMM does with its systems: mixes, copies, stores, strains and reports on them."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support.md_codes import CLIENT_SOURCE, REPOSITORY, run_in_environment
from tests.support.services import Service

pytestmark = pytest.mark.clients

_PREPARED = """
import json, sys
import numpy as np, openmm
from ase.build import molecule
from openmm import app, unit
from posterion_client.md import MDSession
from posterion_client.openmm import *

url = sys.argv[1]
ethanol = molecule("CH3CH2OH")[[3, 0, 8, 2, 4, 1, 5, 7, 6]]
ethanol.rattle(0.02, seed=20)
numbers = tuple(int(number) for number in ethanol.numbers)
BOX = np.array([[8.0, 0.0, 0.0], [1.3, 7.6, 0.0], [0.9, -0.7, 7.2]])
KJ = 96.48533288249877

def context_of(system, integrator=None, platform="Reference"):
    integrator = integrator or openmm.VerletIntegrator(0.0005)
    return openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform))

def system_of(atoms, box=None):
    system = openmm.System()
    for mass in atoms.get_masses():
        system.addParticle(mass)
    if box is not None:
        system.setDefaultPeriodicBoxVectors(*box * 0.1)
    return system

def kj(state):
    return state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
"""

_WATER_BOX = """
from openmmml import MLPotential

force_field = app.ForceField("amber14/tip3p.xml")
modeller = app.Modeller(app.Topology(), [])
modeller.addSolvent(force_field, model="tip3p", boxSize=openmm.Vec3(2, 2, 2) * unit.nanometer)
classical = force_field.createSystem(
    modeller.topology, nonbondedMethod=app.PME, nonbondedCutoff=0.9 * unit.nanometer
)
chosen = [31, 30, 32]  # hydrogen, oxygen, hydrogen
potential = MLPotential("posterion", url=url, precision="float64")
found = {}
for interpolate in (False, True):
    mixed = potential.createMixedSystem(
        modeller.topology, classical, chosen, forceGroup=3, interpolate=interpolate
    )
    settings, particles = settings_in(mixed)
    assert settings.periodic and settings.numbers == (1, 8, 1) and particles == (31, 30, 32)
    context = context_of(mixed)
    context.setPositions(modeller.positions)
    every = np.array(modeller.positions.value_in_unit(unit.angstrom))
    box = context.getState().getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.angstrom)
    with MDSession(settings.numbers, url=url, precision="float64", pbc=True) as session:
        ml = session.evaluate(every[chosen], box)
    if interpolate:
        found["slope"] = kj(context.getState(getEnergy=True))
        context.setParameter("lambda_interpolate", 0.0)
        found["classical"] = kj(context.getState(getEnergy=True))
        plain = context_of(classical)
        plain.setPositions(modeller.positions)
        found["expected"] = kj(plain.getState(getEnergy=True))
    else:
        state = context.getState(getEnergy=True, getForces=True, groups={3})
        found["energy"] = kj(state) - ml.energy * KJ
        forces = state.getForces(asNumpy=True)._value
        forces[chosen] -= ml.forces * KJ * 10
        found["forces"] = float(np.abs(forces).max())
        found["whole"] = kj(context.getState(getEnergy=True))
print(json.dumps(found))
"""

_LINK_ATOM = """
from openmmml import MLPotential

topology = app.Topology()
residue = topology.addResidue("EOH", topology.addChain())
atoms = [topology.addAtom("X", app.Element.getByAtomicNumber(n), residue) for n in numbers]
distances = ethanol.get_all_distances()
for i in range(9):
    for j in range(i):
        if distances[i, j] < (1.7 if numbers[i] > 1 and numbers[j] > 1 else 1.2):
            topology.addBond(atoms[j], atoms[i])
classical = system_of(ethanol)
charges = openmm.NonbondedForce()
for number in numbers:
    charges.addParticle(0.0, 0.1, 0.0)
classical.addForce(charges)
carbon = next(i for i in range(9) if numbers[i] == 6 and (distances[i] < 1.2).sum() == 4)
methyl = [i for i in range(9) if distances[carbon, i] < 1.2]
potential = MLPotential("posterion", url=url, precision="float64")
info = potential.createMixedSystem(topology, classical, methyl, returnInfo=True)
settings, particles = settings_in(info["system"])
context = context_of(info["system"])
start = np.zeros((info["system"].getNumParticles(), 3))
start[info["oldToNew"]] = ethanol.positions * 0.1
context.setPositions(start)
context.computeVirtualSites()
state = context.getState(getEnergy=True, getPositions=True)
placed = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)[list(particles)]
with MDSession(settings.numbers, url=url, precision="float64") as session:
    expected = session.evaluate(placed).energy * KJ
print(json.dumps({"numbers": sorted(settings.numbers), "deviation": kj(state) - expected}))
"""

_COPIES = """
settings = Settings(
    numbers=numbers, periodic=True, precision="float64", gradient_of="force_epistemic_rms"
)
system = system_of(ethanol, BOX)
system.addParticle(40.0)  # not asked about
particles = list(range(9))
system.addForce(posterion_force(settings, particles))
bias = openmm.CustomCVForce("500*s")
bias.addCollectiveVariable("s", uncertainty_variable(*settings_in(system)))
bias.setForceGroup(1)
system.addForce(bias)
positions = np.vstack([ethanol.positions, [4.0, 4.0, 4.0]]) * 0.1
text = openmm.XmlSerializer.serialize(system)
open("system.xml", "w").write(text)
found = {"n_requests": {}}
for platform in ("Reference", "CPU"):
    context = context_of(system, platform=platform)
    context.setPositions(positions)
    before = session_of(settings).n_requests
    for _ in range(3):
        context.getIntegrator().step(1)
        context.getState(getEnergy=True, getForces=True)
    found["n_requests"][platform] = session_of(settings).n_requests - before
context = context_of(system)
context.setPositions(positions)
found["energy"] = kj(context.getState(getEnergy=True))
forces = context.getState(getForces=True, groups={1}).getForces(asNumpy=True)._value
found["slopes"] = []
for atom, axis in ((0, 0), (4, 1), (8, 2)):
    energies = []
    for sign in (1.0, -1.0):
        moved = positions.copy()
        moved[atom, axis] += sign * 1e-5
        context.setPositions(moved)
        energies.append(kj(context.getState(getEnergy=True, groups={1})))
    found["slopes"].append([float(forces[atom, axis]), (energies[1] - energies[0]) / 2e-5])
found["outside"] = float(np.abs(forces[9]).max())
print(json.dumps(found))
"""

_READ_XML = """
system = openmm.XmlSerializer.deserialize(open("system.xml").read())
context = context_of(system)
context.setPositions(np.vstack([ethanol.positions, [4.0, 4.0, 4.0]]) * 0.1)
settings, particles = settings_in(system)
print(json.dumps({"energy": kj(context.getState(getEnergy=True)), "particles": particles}))
"""

_STRAINED = """
settings = Settings(numbers=numbers, url=url, periodic=True, precision="float64")
system = system_of(ethanol, BOX)
system.addForce(posterion_force(settings))
barostat = openmm.MonteCarloFlexibleBarostat(1.0, 300.0, 2, False)
system.addForce(barostat)
context = context_of(system, openmm.LangevinMiddleIntegrator(300.0, 10.0, 0.0005))
context.setPositions(ethanol.positions * 0.1)
xx, yy, zz, xy, xz, yz = barostat.computeStressTensor(context).value_in_unit(unit.bar)
found = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) * 1e-25 / 1.602176634e-19
with MDSession(numbers, url=url, precision="float64", pbc=True) as session:
    right = session.evaluate(ethanol.positions, BOX).stress
context.setVelocitiesToTemperature(300.0, 1)
before = session_of(settings).n_requests
context.getIntegrator().step(10)
print(json.dumps({
    "stress": float(np.abs(found - right).max() / np.abs(right).max()),
    "moved": bool(abs(context.getState().getPeriodicBoxVolume()._value - 0.437760) > 1e-6),
    "n_requests": session_of(settings).n_requests - before,
}))
"""

_REPORTED = """
import io
from openmmml import MLPotential

topology = app.Topology()
residue = topology.addResidue("EOH", topology.addChain())
for number in numbers:
    topology.addAtom("X", app.Element.getByAtomicNumber(number), residue)
system = MLPotential("posterion", url=url).createSystem(topology)
simulation = app.Simulation(
    topology, system, openmm.VerletIntegrator(0.0005), openmm.Platform.getPlatformByName("CPU")
)
simulation.context.setPositions(ethanol.positions * 0.1)
text = io.StringIO()
simulation.reporters.append(app.StateDataReporter(io.StringIO(), 2, potentialEnergy=True))
simulation.reporters.append(UncertaintyReporter(text, 2, system))
simulation.step(6)
session = session_of(settings_in(system)[0])
print(json.dumps({"text": text.getvalue(), "n_requests": session.n_requests}))
"""


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """Variables of a Python that knows the client's entry points, as if it were installed."""
    project = tomllib.loads((REPOSITORY / "clients/python/pyproject.toml").read_text("utf-8"))
    about = tmp_path / "installed" / "posterion_client-0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Name: posterion-client\nVersion: 0\n")
    ((name, value),) = project["project"]["entry-points"]["openmmml.potentials"].items()
    (about / "entry_points.txt").write_text(f"[openmmml.potentials]\n{name} = {value}\n")
    return {"PYTHONPATH": f"{CLIENT_SOURCE}:{about.parent}"}


def answered(
    program: str, url: str, folder: Path, variables: dict[str, str] | None = None
) -> dict[str, Any]:
    command = ["-c", _PREPARED + program, url]
    done = run_in_environment("openmm", command, cwd=folder, variables=variables)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_only_water_of_a_box_that_asks(
    bundled_service: Service, tmp_path: Path, installed: dict[str, str]
) -> None:
    found = answered(_WATER_BOX, bundled_service.url, tmp_path, installed)
    assert found["energy"] == pytest.approx(0.0, abs=1e-6)
    assert found["forces"] == pytest.approx(0.0, abs=1e-6)
    assert found["slope"] == pytest.approx(found["whole"], abs=1e-2)
    assert found["classical"] == pytest.approx(found["expected"], abs=1e-2)


def test_a_cut_bond_is_capped_with_hydrogen(
    bundled_service: Service, tmp_path: Path, installed: dict[str, str]
) -> None:
    found = answered(_LINK_ATOM, bundled_service.url, tmp_path, installed)
    assert found["numbers"] == [1, 1, 1, 1, 6]
    assert found["deviation"] == pytest.approx(0.0, abs=1e-6)


def test_copies_share_requests_and_xml_is_read_elsewhere(
    bundled_service: Service, tmp_path: Path
) -> None:
    variables = {"POSTERION_URL": bundled_service.url}
    found = answered(_COPIES, bundled_service.url, tmp_path, variables)
    assert found["n_requests"] == {"Reference": 4, "CPU": 4}  # the start, and three steps
    for force, slope in found["slopes"]:
        assert force == pytest.approx(slope, rel=1e-4, abs=1e-4)
    assert found["outside"] == 0.0
    text = (tmp_path / "system.xml").read_text()
    # Neither address nor digest: both belong to the process that runs.
    assert bundled_service.url.encode().hex() not in text
    assert b"sha256:".hex() not in text
    again = answered(_READ_XML, "unused", tmp_path, variables)
    assert again["energy"] == pytest.approx(found["energy"], abs=1e-9)
    assert again["particles"] == list(range(9))


def test_barostats_find_the_stress_and_cost_one_request_per_trial(
    bundled_service: Service, tmp_path: Path
) -> None:
    found = answered(_STRAINED, bundled_service.url, tmp_path)
    assert found["stress"] < 1e-4  # OpenMM's own finite differences
    assert found["moved"]
    # Of ten steps, and of five trials, each with a return to where it was refused.
    assert 10 < found["n_requests"] <= 26


def test_reports_cost_no_request(
    bundled_service: Service, tmp_path: Path, installed: dict[str, str]
) -> None:
    found = answered(_REPORTED, bundled_service.url, tmp_path, installed)
    head, *lines = found["text"].splitlines()
    assert head.startswith("step,energy_epistemic_eV,force_max_eV_per_A")
    assert [line.split(",")[0] for line in lines] == ["2", "4", "6"]
    assert all(float(line.split(",")[2]) > 0 for line in lines)
    assert found["n_requests"] == 7


def test_forces_need_no_openmmml(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['openmmml'] = None\n"
        "from posterion_client.openmm import Settings, posterion_force\n"
        "posterion_force(Settings(numbers=(8, 1)))\n"
    )
    done = run_in_environment("openmm", ["-c", program], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
