"""How the demo runs ``posterion serve`` as a process of its own, and ends it."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Final

from posterion.demo.failure import DemoFailed
from posterion.serving.ports import free_ports
from posterion.serving.processes import descendants
from posterion_client import Client

HOST: Final = "127.0.0.1"
START_DEADLINE_S: Final = 300.0
STOP_DEADLINE_S: Final = 40.0
"""The service promises to end within 30 s."""

_WITHOUT_RAY: Final = "\nIn one process, without Ray, it starts faster: posterion demo --in-process"
_POLL_S: Final = 0.1
_LOG_TAIL: Final = 2000
# -P: a folder called ray in the working directory is not the library.
_COMMAND: Final = (sys.executable, "-P", "-c", "from posterion.cli import main; main()", "serve")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningService:
    """A service that answers predictions.

    Attributes:
        url: Where.
        startup_s: How long it took to become ready, seconds.
        process: The process, a child of this one.
    """

    url: str
    startup_s: float
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def running_service(
    *, store: str | None, banks: tuple[str, ...] = (), in_process: bool
) -> Iterator[RunningService]:
    """Serve on a free loopback port inside the ``with`` block.

    Args:
        store: Path or URL of the model store; None = the one in the package.
        banks: Banks to serve; none = all.
        in_process: One process under uvicorn instead of Ray Serve.

    Yields:
        The service, ready.

    Raises:
        DemoFailed: If it does not become ready, or does not end when asked to.
    """
    (port,) = free_ports(1, HOST)
    command = [*_COMMAND, "--host", HOST, "--port", str(port)]
    command += ["--in-process"] if in_process else []
    command += [] if store is None else ["--store", store]
    command += [f"--bank={bank}" for bank in banks]
    hint = "" if in_process else _WITHOUT_RAY
    with running_command(command, url=f"http://{HOST}:{port}", hint=hint) as service:
        yield service


@contextlib.contextmanager
def running_command(
    command: Sequence[str], *, url: str, hint: str = ""
) -> Iterator[RunningService]:
    """Run a command that serves, inside the ``with`` block.

    Args:
        command: Program and arguments.
        url: Where it will be ready; it ends in order at SIGTERM.
        hint: What to add where it fails to start.

    Yields:
        The service, ready.

    Raises:
        DemoFailed: If it does not become ready, or does not end when asked to.
    """
    environment = {name: value for name, value in os.environ.items() if name != "POSTERION_STORE"}
    with tempfile.TemporaryFile() as log:
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            _wait_until_ready(url, process, log, hint=hint)
            yield RunningService(url=url, startup_s=time.monotonic() - started, process=process)
        finally:
            _end(process)


def _wait_until_ready(
    url: str, process: subprocess.Popen[bytes], log: IO[bytes], *, hint: str
) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    with Client(url) as client:
        while not client.ready():
            if process.poll() is not None:
                failed = process.returncode == 1
                raise DemoFailed(
                    f"the service ended with status {process.returncode} before it was ready; "
                    f"it said:\n{_tail(log)}{hint if failed else ''}"
                )
            if time.monotonic() > deadline:
                raise DemoFailed(
                    f"the service was not ready after {START_DEADLINE_S:g} s; it said:\n"
                    f"{_tail(log)}{hint}"
                )
            time.sleep(_POLL_S)


def _tail(log: IO[bytes]) -> str:
    log.seek(0)
    text = log.read().decode(errors="replace").strip()
    return text[-_LOG_TAIL:] or "(nothing)"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the service to end; kill it and what it started only if it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_DEADLINE_S)
    except subprocess.TimeoutExpired as error:
        for pid in (process.pid, *descendants(process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        raise DemoFailed(
            f"the service did not end within {STOP_DEADLINE_S:g} s of SIGTERM and was killed"
        ) from error
