"""i-PI as the self-test runs it: its own program, in a folder of its own, over ``ffdirect``."""

import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posterion_client._elements import SYMBOLS
from posterion_client.ipi import pes_path
from posterion_client.ipi._units import BOHR_PER_ANGSTROM, FORCE
from posterion_client.selftest._code import Job, Trace

FloatArray = NDArray[np.float64]

_ELECTRON_MASSES_PER_AMU: Final = 1822.8885
_ATOMIC_TIMES_PER_FS: Final = 41.341373
_FREE_SPACE_BOHR: Final = 1000.0
_TIMEOUT_S: Final = 300.0
_END_OF_LOG: Final = 2000

_INPUT: Final = Template("""\
<simulation verbosity='low' floatformat='%25.17e'>
  <output prefix='run'>
    <properties filename='out' stride='1'>
      [potential{electronvolt}, kinetic_md{electronvolt}, virial_md{ev/ang3}]
    </properties>
    <properties filename='for' stride='1000000'>[$forces]</properties>
    <trajectory filename='unc' stride='1' extra_type='force_epistemic_max, n_requests'>
      extras </trajectory>
    <checkpoint filename='end' stride='1' overwrite='True'/>
  </output>
  <total_steps>$total_steps</total_steps>
  <ffdirect name='posterion'>
    <pes>custom</pes>
    <pes_path>$pes_path</pes_path>
    <parameters>{$parameters}</parameters>
  </ffdirect>
  <system>
    <beads natoms='$n_atoms' nbeads='1'>
      <q shape='(1, $n_coordinates)'>$positions</q>
      <p shape='(1, $n_coordinates)'>$momenta</p>
      <m shape='($n_atoms)'>$masses</m>
      <names shape='($n_atoms)'>$names</names>
    </beads>
    <cell shape='(3, 3)'>$cell</cell>
    <forces><force forcefield='posterion'/></forces>
    <motion mode='dynamics'>
      <fixcom>False</fixcom>
      <dynamics mode='nve'><timestep units='femtosecond'>$timestep</timestep></dynamics>
    </motion>
  </system>
</simulation>
""")


class IpiCode:
    """The program ``i-pi`` of this environment."""

    name = "ipi"
    version = version("ipi")
    energy_tolerance = 1e-6
    energy_reason = (
        "i-PI's constants have eight digits: its electronvolt, angstrom, dalton and second make "
        "another unit of kinetic energy than those of ASE"
    )

    def run(self, job: Job) -> Trace:
        """Run a job in a temporary folder; see `MDCode`."""
        with tempfile.TemporaryDirectory(prefix="posterion-ipi-") as name:
            folder = Path(name)
            (folder / "input.xml").write_text(input_of(job), encoding="utf-8")
            program = Path(sys.executable).with_name("i-pi")
            done = subprocess.run(
                [sys.executable, str(program), "input.xml"],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
            if done.returncode != 0:
                said = (done.stdout + done.stderr)[-_END_OF_LOG:]
                raise RuntimeError(f"i-pi ended with status {done.returncode}: {said}")
            return _read_trace(folder, job)


def input_of(job: Job) -> str:
    """The input file of a job, in atomic units so that no digit is lost.

    Args:
        job: What to run.
    """
    service, n_atoms = job.service, len(job.numbers)
    velocities = job.velocities * BOHR_PER_ANGSTROM / _ATOMIC_TIMES_PER_FS
    masses = job.masses * _ELECTRON_MASSES_PER_AMU
    box = np.eye(3) * _FREE_SPACE_BOHR if job.cell is None else job.cell.T * BOHR_PER_ANGSTROM
    symbols = [SYMBOLS[number - 1] for number in job.numbers]
    parameters = {
        "symbols": " ".join(symbols),
        "url": service.url,
        "model": service.model,
        "version": service.digest,
        "precision": service.precision,
        "pbc": job.cell is not None,
    }
    return _INPUT.substitute(
        # i-PI does not start without a step to do; it evaluates the start first.
        total_steps=max(job.n_steps, 1),
        pes_path=pes_path(),
        parameters=", ".join(f"{key}: {value}" for key, value in parameters.items()),
        n_atoms=n_atoms,
        n_coordinates=3 * n_atoms,
        positions=_listed(job.positions * BOHR_PER_ANGSTROM),
        momenta=_listed(velocities * masses[:, None]),
        masses=_listed(masses),
        # A trajectory of forces has six digits, a property as many as floatformat says.
        forces=", ".join(f"atom_f{{ev/ang}}({atom})" for atom in range(n_atoms)),
        names=f"[{', '.join(symbols)}]",
        cell=_listed(box),
        timestep=repr(float(job.timestep_fs)),
    )


def _read_trace(folder: Path, job: Job) -> Trace:
    n_rows = job.n_steps + 1
    rows = np.loadtxt(folder / "run.out", ndmin=2)[:n_rows]
    potential, kinetic, virial = rows[:, 0], rows[:, 1], rows[0, 2:]
    spread = np.loadtxt(folder / "run.unc_0", ndmin=2)[:n_rows]
    forces = np.loadtxt(folder / "run.for", ndmin=2)[0].reshape(-1, 3)
    return Trace(
        potential=potential,
        total=potential + kinetic,
        forces=forces,
        positions=_last_positions(folder, job),
        stress=None if job.cell is None else -virial[[[0, 3, 4], [3, 1, 5], [4, 5, 2]]],
        force_epistemic_max=float(spread[0, 0] / FORCE),
        n_requests=int(spread[-1, 1]),
    )


def _last_positions(folder: Path, job: Job) -> FloatArray:
    """From the checkpoint, which has all digits."""
    if job.n_steps == 0:
        return job.positions
    text = (folder / "run.end").read_text(encoding="utf-8")
    _, _, rest = text.partition("<q ")
    numbers = rest[rest.index("[") + 1 : rest.index("]")].replace(",", " ")
    return np.array(numbers.split(), dtype=np.float64).reshape(-1, 3) / BOHR_PER_ANGSTROM


def _listed(values: FloatArray) -> str:
    return f"[{', '.join(repr(value) for value in values.ravel().tolist())}]"
