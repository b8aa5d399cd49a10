"""MDI under the self-test: a small driver, and the engine `posterion-client mdi-engine`."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np

from posterion_client.mdi import plugin_folder
from posterion_client.selftest._code import Job, Trace
from posterion_client.selftest._programs import run_program

Method = Literal["MPI", "LINK", "TCP"]


class MdiCode:
    """A driver and an engine of this environment.

    Args:
        method: How they talk: ``MPI`` as two programs of one mpiexec, ``LINK`` with the engine
            as a plugin, or ``TCP``; the default is the first of LINK, MPI and TCP that the
            library was built for. Programs that wait by MPI keep a core busy each.
    """

    name = "mdi"
    energy_tolerance = 1e-9
    energy_reason = "positions and forces are converted to atomic units and back"

    def __init__(self, *, method: Method | None = None) -> None:
        self.version = version("pymdi")
        self._method: Method = method or _best_method()

    def run(self, job: Job) -> Trace:
        """Run a job; see `MDCode`."""
        with tempfile.TemporaryDirectory(prefix="posterion-mdi-") as folder:
            there = Path(folder)
            np.savez(
                there / "job.npz",
                numbers=job.numbers,
                positions=job.positions,
                velocities=job.velocities,
                masses=job.masses,
                cell=np.zeros(0) if job.cell is None else job.cell,
                timestep_fs=job.timestep_fs,
                n_steps=job.n_steps,
            )
            _RUNS[self._method](there, _settings(job))
            with np.load(there / "trace.npz") as found:
                return Trace(
                    potential=found["potential"],
                    total=found["total"],
                    forces=found["forces"],
                    positions=found["positions"],
                    stress=found.get("stress"),
                    force_epistemic_max=float(found["spread"]),
                )


def _settings(job: Job) -> list[str]:
    service = job.service
    return [
        *("--url", service.url, "--model", service.model),
        *("--digest", service.digest, "--precision", service.precision),
    ]


def _driver(folder: Path, options: str, plugin: str | None = None) -> list[str]:
    said = {"options": f"-role DRIVER -name driver {options}", "plugin": plugin}
    (folder / "driver.json").write_text(json.dumps(said))
    return [sys.executable, "-m", "posterion_client.selftest._mdi_driver", str(folder)]


def _engine(options: str, settings: list[str]) -> list[str]:
    mdi = f"-role ENGINE -name posterion {options}"
    return [sys.executable, "-m", "posterion_client.mdi", "-mdi", mdi, *settings]


def _run_mpi(folder: Path, settings: list[str]) -> None:
    mpiexec = str(Path(sys.executable).with_name("mpiexec"))
    driver, engine = _driver(folder, "-method MPI"), _engine("-method MPI", settings)
    run_program([mpiexec, "-n", "1", *driver, ":", "-n", "1", *engine], cwd=folder)


def _run_link(folder: Path, settings: list[str]) -> None:
    plugins = str(plugin_folder())
    options = f"-method LINK -plugin_path {plugins}"
    plugin = f'-mdi "-role ENGINE -name posterion -method LINK" {" ".join(settings)}'
    path = os.pathsep.join(filter(None, [plugins, os.environ.get("PYTHONPATH")]))
    run_program(["env", f"PYTHONPATH={path}", *_driver(folder, options, plugin)], cwd=folder)


def _run_tcp(folder: Path, settings: list[str]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = f"-method TCP -port {port}"
    # The engine waits for the driver's port.
    with subprocess.Popen(
        _engine(f"{options} -hostname 127.0.0.1", settings), cwd=folder
    ) as engine:
        try:
            run_program(_driver(folder, options), cwd=folder)
        except BaseException:
            engine.terminate()
            raise


_RUNS = {"MPI": _run_mpi, "LINK": _run_link, "TCP": _run_tcp}


def _best_method() -> Method:
    """What the library MDI of this environment was built for, the leanest first."""
    found = importlib.util.find_spec("mdi")
    library = Path("" if found is None else found.origin or "").with_name("libmdi.so")
    content = library.read_bytes() if library.exists() else b""
    if b"libmpi" not in content:
        return "TCP"
    return "LINK" if b"libpython" in content else "MPI"
