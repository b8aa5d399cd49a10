"""Jobs and traces of the programs in ``clients/c/selftest``; their formats are in driver.c."""

import tempfile
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posterion_client.md import Transport
from posterion_client.selftest._code import Job, Trace
from posterion_client.selftest._native import run

FloatArray = NDArray[np.float64]

RETRY_S: Final = 60.0
_TRANSPORTS: Final[tuple[Transport, ...]] = ("auto", "http", "websocket")
"""In the order of posterion.h."""


def run_driver(
    program: Path, job: Job, *, retry_s: float = RETRY_S, transport: Transport = "auto"
) -> Trace:
    """Run a job with a compiled driver.

    Args:
        program: The driver.
        job: What to run.
        retry_s: How long an unreachable service is waited for, seconds.
        transport: How it asks.

    Raises:
        RuntimeError: If it ends with another status than 0.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked, told = Path(folder) / "job", Path(folder) / "trace"
        asked.write_text(job_text(job, retry_s=retry_s, transport=transport))
        run([str(program), str(asked), str(told)])
        values = np.array(told.read_text().split(), dtype=np.float64)
    return _trace(values, job)


def job_text(job: Job, *, retry_s: float, transport: Transport) -> str:
    """A job as the drivers read it; every number is written to its last bit.

    Args:
        job: The job.
        retry_s: How long an unreachable service is waited for, seconds.
        transport: How it asks.
    """
    service = job.service
    bits = 64 if service.precision == "float64" else 32
    cell = np.zeros((3, 3)) if job.cell is None else job.cell
    n_atoms = len(job.numbers)
    lines = [
        service.url,
        service.model or "-",
        service.digest or "-",
        f"{bits} {retry_s!r} {n_atoms} {job.n_steps} {job.timestep_fs!r}",
        f"{int(job.cell is not None)} {_TRANSPORTS.index(transport)}",
        _written(cell.ravel()),
    ]
    for number, mass, position, velocity in zip(
        job.numbers, job.masses, job.positions, job.velocities, strict=True
    ):
        lines.append(f"{number} {_written([mass, *position, *velocity])}")
    return "\n".join(lines) + "\n"


def _written(values: "FloatArray | list[float]") -> str:
    return " ".join(repr(float(value)) for value in values)


def _trace(values: FloatArray, job: Job) -> Trace:
    n_energies, n_numbers = 2 * (job.n_steps + 1), 3 * len(job.numbers)
    ends = np.cumsum([n_energies, n_numbers, n_numbers, 9, 2])
    if len(values) != ends[-1]:
        raise RuntimeError(f"expected a trace of {ends[-1]} numbers, got {len(values)}")
    energies, forces, positions, stress, rest = np.split(values, ends[:-1])
    return Trace(
        potential=energies[0::2],
        total=energies[1::2],
        forces=forces.reshape(-1, 3),
        positions=positions.reshape(-1, 3),
        stress=None if job.cell is None else stress.reshape(3, 3),
        force_epistemic_max=float(rest[0]),
        n_requests=int(rest[1]),
    )
