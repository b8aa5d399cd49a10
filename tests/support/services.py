"""Real services as child processes: started, watched and ended by process id."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx

from posterion.serving.processes import descendants

START_S = 180.0
END_S = 30.0
"""A service promises to be gone so long after SIGTERM."""
POLL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One listening TCP socket.

    Attributes:
        address: Address it is bound to, without brackets or IPv4 mapping.
        port: Its port.
        program: Start of the program's name, as the kernel keeps it.
        pid: Its process.
    """

    address: str
    port: int
    program: str
    pid: int

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.address in {"127.0.0.1", "::1"}


@dataclass(slots=True)
class Service:
    """A running ``posterion serve``.

    Attributes:
        process: Its main process.
        url: Where it says it is.
        log: What it wrote to standard error.
    """

    process: subprocess.Popen[bytes]
    url: str
    log: IO[bytes]

    def pids(self) -> list[int]:
        """Its processes."""
        return [self.process.pid, *descendants(self.process.pid)]

    def listeners(self) -> list[Listener]:
        """Its listening sockets."""
        own = set(self.pids())
        return [each for each in listening_sockets() if each.pid in own]

    def client(self) -> httpx.Client:
        """A client of the service."""
        return httpx.Client(base_url=self.url, timeout=60.0, trust_env=False)

    def ask_to_end(self) -> None:
        """Send SIGTERM to the main process."""
        self.process.send_signal(signal.SIGTERM)

    def wait_for_end(self) -> int:
        """Exit status of the main process; fails after the promised time."""
        return self.process.wait(END_S)

    def logged(self) -> str:
        """What it wrote to standard error so far."""
        self.log.seek(0)
        return self.log.read().decode(errors="replace")


@contextlib.contextmanager
def running_service(*arguments: str) -> Iterator[Service]:
    """Start ``posterion serve --port 0 ARGUMENTS``, wait until it says it is ready, end it."""
    program = Path(sys.executable).with_name("posterion")
    command = [str(program), "serve", "--port", "0", *arguments]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=output, stderr=log)
        service = Service(process, "", log)
        try:
            service.url = _wait_for_url(service, output)
            yield service
        finally:
            if process.poll() is None:
                service.ask_to_end()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    service.wait_for_end()
            for pid in service.pids() if process.poll() is None else []:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def listening_sockets() -> Sequence[Listener]:
    """Every listening TCP socket whose process we may see."""
    lines = subprocess.run(
        ["ss", "-ltnpH"], capture_output=True, text=True, timeout=30, check=True
    ).stdout.splitlines()
    return [listener for line in lines for listener in _parse(line)]


def is_alive(pid: int) -> bool:
    """Whether a process runs; zombies do not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def _parse(line: str) -> Iterator[Listener]:
    fields = line.split(maxsplit=5)
    if len(fields) < 6 or "pid=" not in fields[5]:
        return
    address, _, port = fields[3].rpartition(":")
    address = address.strip("[]").removeprefix("::ffff:")
    for program, pid in re.findall(r'\("([^"]*)",pid=(\d+),', fields[5]):
        yield Listener(address=address, port=int(port), program=program, pid=int(pid))


def _wait_for_url(service: Service, output: IO[bytes]) -> str:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        output.seek(0)
        for line in output.read().decode().splitlines():
            if " is ready at " in line:
                return line.split()[-1]
        if service.process.poll() is not None:
            raise AssertionError(f"the service ended at once:\n{service.logged()}")
        time.sleep(POLL_S)
    raise AssertionError(f"the service was not ready after {START_S} s:\n{service.logged()}")
