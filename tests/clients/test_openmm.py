"""OpenMM on the service: certified, mixed systems, XML, and uncertainty that steers a run."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import certificate_of, deviation
from tests.support.md_codes import run_in_environment
from tests.support.services import Service

pytestmark = pytest.mark.clients

_PREPARED = """
import json, sys
import numpy as np, openmm
from ase.build import molecule
from openmm import app, unit
from posterion_client.md import MDSession
from posterion_client.openmm import (
    PosterionPotentialFactory, Settings, posterion_force, session_of, settings_in,
    uncertainty_variable,
)

url = sys.argv[1]
ethanol = molecule("CH3CH2OH")
numbers = tuple(int(number) for number in ethanol.numbers)

def context_of(system, step_fs=0.5):
    integrator = openmm.VerletIntegrator(step_fs * 1e-3)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    return context

def empty_system(atoms):
    system = openmm.System()
    for mass in atoms.get_masses():
        system.addParticle(mass)
    return system

def kj(quantity):
    return quantity.value_in_unit(unit.kilojoule_per_mole)
"""

_MIXED = """
from openmmml import MLPotential

MLPotential.registerImplFactory("posterion", PosterionPotentialFactory())
topology = app.Topology()
chain = topology.addChain()
residue = topology.addResidue("MOL", chain)
for number in numbers:
    topology.addAtom("X", app.Element.getByAtomicNumber(number), residue)
for name in ("A", "B"):
    topology.addAtom("Ar", app.Element.getBySymbol("Ar"), topology.addResidue(name, chain))
positions = np.concatenate([ethanol.positions, [[0.0, 0.0, 6.0], [0.0, 4.0, 6.0]]]) * 0.1

classical = openmm.System()
for atom in topology.atoms():
    classical.addParticle(atom.element.mass)
lj = openmm.NonbondedForce()
for _ in range(len(numbers) + 2):
    lj.addParticle(0.0, 0.34, 1.0)
classical.addForce(lj)
potential = MLPotential("posterion", url=url, precision="float64")
mixed = potential.createMixedSystem(topology, classical, list(range(len(numbers))))
again = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(mixed))
energies, forces = [], []
for system in (mixed, again):
    context = context_of(system)
    context.setPositions(positions)
    state = context.getState(getEnergy=True, getForces=True)
    energies.append(kj(state.getPotentialEnergy()))
    forces.append(state.getForces(asNumpy=True)._value)
outside = openmm.System()
for _ in range(len(numbers) + 2):
    outside.addParticle(1.0)
rest = openmm.NonbondedForce()
for _ in range(len(numbers) + 2):
    rest.addParticle(0.0, 0.34, 1.0)
for i in range(len(numbers)):
    for j in range(i):
        rest.addException(i, j, 0.0, 1.0, 0.0)
outside.addForce(rest)
context = context_of(outside)
context.setPositions(positions)
state = context.getState(getEnergy=True, getForces=True)
with MDSession(numbers, url=url, precision="float64") as session:
    ml = session.evaluate(ethanol.positions)
expected = kj(state.getPotentialEnergy()) + ml.energy * 96.48533288249877
right = np.array(state.getForces(asNumpy=True)._value)
right[: len(numbers)] += ml.forces * 964.8533288249877
print(json.dumps({
    "energies": energies, "expected": expected,
    "forces": float(np.abs(np.array(forces) - right).max()),
}))
"""

_BIASED = """
gradient_of, n_steps = sys.argv[2], int(sys.argv[3])
settings = Settings(numbers=numbers, url=url, gradient_of=gradient_of)
found = {}
for aim, energy in (("lower", sys.argv[4]), ("raise", sys.argv[5])):
    system = empty_system(ethanol)
    system.addForce(posterion_force(settings))
    bias = openmm.CustomCVForce(energy)
    bias.addCollectiveVariable("s", uncertainty_variable(*settings_in(system)))
    system.addForce(bias)
    context = context_of(system, 0.25)
    context.setPositions(ethanol.positions * 0.1)
    context.setVelocitiesToTemperature(100.0, 7)
    session = session_of(settings)
    asked = session.n_requests
    values, totals = [], []
    for step in range(n_steps):
        context.getIntegrator().step(1)
        values.append(bias.getCollectiveVariableValues(context)[0])
        state = context.getState(getEnergy=True)
        totals.append(kj(state.getPotentialEnergy()) + kj(state.getKineticEnergy()))
    session.close()
    found[aim] = {
        "mean": float(np.mean(values)),
        "drift": float(np.abs(np.array(totals) - totals[0]).max() / 96.485),
        "n_requests": session.n_requests - asked,
    }
print(json.dumps(found))
"""

_FAILING = """
symbol, halt = sys.argv[2], sys.argv[3] or "never"
number = app.Element.getBySymbol(symbol).atomic_number
settings = Settings(
    numbers=(number, 1), url=url, halt=halt, retry_s=0.0, digest=sys.argv[4] or None
)
system = openmm.System()
system.addParticle(16.0)
system.addParticle(1.0)
system.addForce(posterion_force(settings))
context = context_of(system)
context.setPositions([[0, 0, 0], [0, 0, 0.11]])
context.getIntegrator().step(2)
"""


def answered(program: str, url: str, *arguments: str, folder: Path) -> dict[str, Any]:
    done = run_in_environment("openmm", ["-c", _PREPARED + program, url, *arguments], cwd=folder)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_it_is_certified(bundled_service: Service, tmp_path: Path) -> None:
    certificate = certificate_of("openmm", bundled_service.url, tmp_path)
    assert deviation(certificate, "total energy against ASE") <= 1e-7
    skipped = [check for check in certificate["checks"] if check["verdict"] == "skipped"]
    assert {check["name"] for check in skipped} == {"stress, off-diagonals too"}


def test_mixed_systems_keep_their_classical_part_and_their_xml(
    bundled_service: Service, tmp_path: Path
) -> None:
    found = answered(_MIXED, bundled_service.url, folder=tmp_path)
    assert found["energies"] == pytest.approx([found["expected"]] * 2, abs=1e-6)
    assert found["forces"] < 1e-4  # kJ/mol/nm


@pytest.mark.parametrize(
    ("gradient_of", "lowering", "raising"),
    [
        ("energy_epistemic", "5000*s", "-5000*s"),
        # A bias without a bound would tear the molecule apart before it raised this number.
        ("force_epistemic_rms", "1.5e6*(s-0.001)^2", "1.5e6*(s-0.006)^2"),
    ],
)
def test_a_bias_steers_the_uncertainty_and_conserves_energy(
    bundled_service: Service, tmp_path: Path, gradient_of: str, lowering: str, raising: str
) -> None:
    n_steps = 160
    found = answered(
        _BIASED,
        bundled_service.url,
        *(gradient_of, str(n_steps), lowering, raising),
        folder=tmp_path,
    )
    assert found["raise"]["mean"] > 1.2 * found["lower"]["mean"], found
    for run in found.values():
        assert run["drift"] < 9e-4, found  # eV of nine atoms: 0.1 meV per atom
        assert run["n_requests"] == n_steps, found


@pytest.mark.parametrize(
    ("symbol", "halt", "digest", "said"),
    [
        ("Xe", "", "", "posterion: unsupported-element: bank ethanol knows"),
        ("O", "failed", "", "posterion: flags "),
        ("O", "", "sha256:" + "0" * 64, "posterion: version-moved"),
    ],
)
def test_it_ends_with_one_clear_line(
    bundled_service: Service, tmp_path: Path, symbol: str, halt: str, digest: str, said: str
) -> None:
    done = run_in_environment(
        "openmm",
        ["-c", _PREPARED + _FAILING, bundled_service.url, symbol, halt, digest],
        cwd=tmp_path,
    )
    assert done.returncode != 0
    assert said in done.stderr.splitlines()[-1]


def test_a_wrong_address_is_said(tmp_path: Path) -> None:
    done = run_in_environment(
        "openmm", ["-c", _PREPARED + _FAILING, "http://127.0.0.1:9", "O", "", ""], cwd=tmp_path
    )
    assert done.returncode != 0
    assert "connection-failed: no connection to http://127.0.0.1:9" in done.stderr.splitlines()[-1]
