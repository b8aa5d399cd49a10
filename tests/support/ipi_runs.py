"""i-PI as its users start it: input files, the program, and the driver beside it."""

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from posterion_client.ipi import pes_path
from tests.support.md_codes import CLIENT_SOURCE, REPOSITORY, environment_python

GUIDE = REPOSITORY / "docs" / "clients" / "ipi.md"
ADDRESS = "http://127.0.0.1:8000"
ENDED_S = 60.0
START = "3\n\nO 0 0 0.1\nH 0.96 0.3 0\nH -0.24 0.93 0.2\n"

_INPUT = """\
<simulation verbosity='low' floatformat='%25.17e'>
  <output prefix='run'>
    <properties filename='out' stride='1'>[step, potential{{electronvolt}}]</properties>
    <trajectory filename='flags' stride='1' extra_type='flag_level, n_requests'>
      extras </trajectory>
  </output>
  <total_steps>{steps}</total_steps>
  <prng><seed>1</seed></prng>
  {forcefield}
  <system>
    <initialize nbeads='{beads}'>
      <file mode='ase' units='angstrom'>start.xyz</file>
      <cell mode='abc' units='angstrom'>[40, 40, 40]</cell>
      <velocities mode='thermal' units='kelvin'>{temperature}</velocities>
    </initialize>
    <ensemble><temperature units='kelvin'>300</temperature></ensemble>
    <forces><force forcefield='posterion'/></forces>
    <motion mode='dynamics'>
      <dynamics mode='nve'><timestep units='femtosecond'>{timestep}</timestep></dynamics>
    </motion>
  </system>
</simulation>
"""


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language in the guide."""
    text = GUIDE.read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def direct(parameters: str, *, batch_size: int = 1, threaded: bool = False) -> str:
    """An ``ffdirect``."""
    return (
        f"<ffdirect name='posterion' threaded='{threaded}'><pes>custom</pes>"
        f"<pes_path>{pes_path()}</pes_path><batch_size>{batch_size}</batch_size>"
        f"<parameters>{{{escape(parameters)}}}</parameters></ffdirect>"
    )


def over_socket(name: str, *, batch_size: int = 1) -> str:
    """An ``ffsocket`` that ends with its driver."""
    return (
        f"<ffsocket name='posterion' mode='unix'><address>{name}</address>"
        f"<batch_size>{batch_size}</batch_size>"
        "<exit_on_disconnect>True</exit_on_disconnect></ffsocket>"
    )


def write_input(
    folder: Path,
    forcefield: str,
    *,
    steps: int = 3,
    beads: int = 1,
    temperature: float = 300.0,
    timestep: float = 0.5,
) -> None:
    """Write ``input.xml`` and ``start.xyz``; femtoseconds and kelvin."""
    filled = _INPUT.format(
        forcefield=forcefield,
        steps=steps,
        beads=beads,
        temperature=temperature,
        timestep=timestep,
    )
    (folder / "input.xml").write_text(filled)
    (folder / "start.xyz").write_text(START)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run ended.

    Attributes:
        status: Exit status.
        log: What i-PI, or its driver, wrote to standard output.
        errors: And to standard error.
    """

    status: int
    log: str
    errors: str

    def line(self) -> str:
        """The one line that says why."""
        (found,) = [line for line in self.errors.splitlines() if line.startswith("posterion")]
        assert "Traceback" not in self.errors + self.log
        return found


@contextlib.contextmanager
def started(folder: Path, arguments: Sequence[str]) -> Iterator[Callable[[], Ended]]:
    """Start an interpreter of i-PI's environment; the yielded call waits for its end."""
    process = subprocess.Popen(
        [str(environment_python("ipi")), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CLIENT_SOURCE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def ended() -> Ended:
        log, errors = process.communicate(timeout=ENDED_S)
        return Ended(status=process.returncode, log=log, errors=errors)

    try:
        yield ended
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def ipi(folder: Path) -> contextlib.AbstractContextManager[Callable[[], Ended]]:
    """Start i-PI in a folder with an input."""
    return started(folder, [str(environment_python("ipi").with_name("i-pi")), "input.xml"])


def driver(
    folder: Path, socket_name: str, *arguments: str
) -> contextlib.AbstractContextManager[Callable[[], Ended]]:
    """Start the driver once i-PI listens."""
    socket_file = Path(f"/tmp/ipi_{socket_name}")  # noqa: S108 - where i-PI puts it
    until(socket_file.exists)
    command = ["-m", "posterion_client", "ipi-driver", "--unix", "--address", socket_name]
    return started(folder, [*command, "--template", "start.xyz", "-o", "pbc=False", *arguments])


def until(condition: Callable[[], bool]) -> None:
    """Wait for something."""
    deadline = time.monotonic() + ENDED_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def table(path: Path) -> NDArray[np.float64]:
    """Numbers of a file of i-PI, comments left out."""
    return np.loadtxt(path, ndmin=2)
