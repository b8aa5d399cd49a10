"""The C shim: certified, clean under the sanitizers, pinned, and clear about failures."""

import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import pytest

from posterion.errors import Overloaded
from posterion_client import Client
from posterion_client.md import Transport
from posterion_client.selftest._c import CCode
from posterion_client.selftest._driver import run_driver
from posterion_client.selftest._native import Build, run, sources
from posterion_client.selftest._reference import reference_prediction, reference_trace
from posterion_client.selftest._run import certify
from tests.support.doorkeeper import doorkeeper
from tests.support.fake_backend import OLDER, STABLE, SpringBackend
from tests.support.native_jobs import SlowSprings, answering, run_failing, spring_job
from tests.support.services import Service
from tests.support.spring_service import spring_service

pytestmark = pytest.mark.clients

Found = TypeVar("Found")

SANITIZED = "-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all"
TRANSPORTS: Final[tuple[Transport, ...]] = ("http", "websocket")


@pytest.fixture(scope="module")
def driver() -> Iterator[Path]:
    """The driver, under the sanitizers."""
    build = Build("c", {"CFLAGS": SANITIZED})
    yield build.made("selftest_c")
    del build


def test_it_is_certified(bundled_service: Service) -> None:
    with Client(bundled_service.url) as client:
        certificate = certify(CCode(), client, told=lambda _: None)
    assert certificate.holds, certificate.table()
    assert "skipped" not in {check.verdict for check in certificate.checks}


def test_what_comes_from_the_network_does_no_harm(tmp_path: Path) -> None:
    command = ["make", "-s", "-C", str(sources("c")), "check", f"BUILD={tmp_path}"]
    assert "nothing found" in run(command, timeout_s=300)


def test_the_example_runs_and_leaks_nothing(bundled_service: Service) -> None:
    build = Build("c", {"CFLAGS": "-g -O1"})
    watched = ["valgrind", "-q", "--leak-check=full", "--error-exitcode=9"]
    command = [str(build.made("nve")), bundled_service.url, "4"]
    output = run([*(watched if shutil.which("valgrind") else []), *command])
    rows = np.array([line.split() for line in output.splitlines()], dtype=np.float64)
    assert rows.shape == (5, 4)
    assert np.ptp(rows[:, 3]) < 0.01


class TestTransports:
    @pytest.mark.parametrize("transport", TRANSPORTS)
    def test_both_carry_every_number(self, driver: Path, transport: Transport) -> None:
        with spring_service() as service, Client(service.url) as client:
            job = spring_job(service.url, n_steps=20)
            found = run_driver(driver, job, transport=transport)
            assert np.abs(found.total - reference_trace(client, job).total).max() < 1e-12
            right = reference_prediction(client, job)
        assert np.array_equal(found.forces, right.forces)
        assert found.stress is not None
        assert right.stress is not None
        assert np.array_equal(found.stress, right.stress)
        assert right.uncertainty is not None
        assert found.force_epistemic_max == right.uncertainty.forces.max
        assert found.n_requests == 21

    def test_without_websockets_every_step_is_a_request(self, driver: Path) -> None:
        with answering(
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", upgrades=False
        ) as url:
            job = spring_job(url)
            assert "answered 404 with no media type" in run_failing(driver, job)
            said = run_failing(driver, job, transport="websocket")
        assert "answered 404 to a WebSocket's handshake" in said


@pytest.mark.parametrize("transport", TRANSPORTS)
class TestFailures:
    def test_nobody_is_there(self, driver: Path, transport: Transport) -> None:
        said = run_failing(
            driver, spring_job("http://127.0.0.1:9"), transport=transport, retry_s=1.0
        )
        assert said.startswith("connection-failed: no connection to http://127.0.0.1:9: ")
        assert said.endswith("[gave up after 2 attempts]")

    def test_the_model_does_not_know_an_element(self, driver: Path, transport: Transport) -> None:
        with spring_service() as service:
            said = run_failing(
                driver, spring_job(service.url, numbers=(8, 92, 1)), transport=transport
            )
        assert said == "unsupported-element: the model has not seen one of the elements"

    def test_the_model_is_unknown(self, driver: Path, transport: Transport) -> None:
        with spring_service() as service:
            said = run_failing(driver, spring_job(service.url, model="nope"), transport=transport)
        assert said == "unknown-model: no such model or version"

    def test_a_number_is_not_finite(self, driver: Path, transport: Transport) -> None:
        with spring_service(SpringBackend(poison=float("nan"))) as service:
            said = run_failing(driver, spring_job(service.url), transport=transport)
        assert said.startswith("non-finite-result: ")

    def test_another_version_answers(self, driver: Path, transport: Transport) -> None:
        with spring_service() as service:
            said = run_failing(driver, spring_job(service.url, digest=OLDER), transport=transport)
        assert said.startswith("version-moved: ")

    def test_the_version_is_gone_after_a_restart(self, driver: Path, transport: Transport) -> None:
        class Promoted(SpringBackend):
            def _digest(self, name: str, version: str | None) -> str:
                if version not in (None, "stable", OLDER):
                    return super()._digest(name, "gone")
                return OLDER

        said = _disturbed(
            lambda url: run_failing(
                driver, spring_job(url, n_steps=100_000), transport=transport, retry_s=30.0
            ),
            Promoted(),
        )
        assert said.startswith(
            f"version-moved: the run began with version {STABLE} of springs, which the service no"
        )


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_restart_is_waited_out(driver: Path, transport: Transport) -> None:
    def go(url: str) -> np.ndarray:
        job = spring_job(url, n_steps=1000)
        return run_driver(driver, job, transport=transport).total

    with spring_service() as service:
        undisturbed = go(service.url)
    second = SpringBackend()
    assert np.array_equal(_disturbed(go, second), undisturbed)
    assert 0 < len(second.calls) < 1000


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_busy_service_is_asked_again_when_it_says(driver: Path, transport: Transport) -> None:
    backend = SpringBackend(failure=Overloaded("full", retry_after_s=1.0))
    with spring_service(backend) as service:
        timer = threading.Timer(0.3, lambda: setattr(backend, "failure", None))
        timer.start()
        run_driver(driver, spring_job(service.url), transport=transport)
    assert len(backend.calls) == 2


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_environment_says_who_asks(
    driver: Path, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTERION_AUTHORIZATION", "Bearer t")
    with doorkeeper() as door:
        run_failing(driver, spring_job(door.url), transport=transport)
    assert door.introductions() == {"Bearer t"}


HOSTILE_MESSAGES = {
    "nothing": b"",
    "half a frame": b"\x82",
    "no end": b"\x82\x7f" + struct.pack(">Q", 1 << 62),
    "too long": b"\x82\x7f" + struct.pack(">Q", 1 << 30) + bytes(1000),
    "masked": b"\x81\x82\x00\x00\x00\x00{}",
    "compressed": b"\xc1\x02{}",
    "a ping that is too long": b"\x89\x7e\x01\x00" + bytes(256),
    "pings, then nothing": b"\x89\x05hello" * 50,
    "a continuation of nothing": b"\x80\x02{}",
    "an empty document": b"\x81\x02{}",
    "no document": b"\x81\x05<htm>",
    "a frame": b"\x82\x04PSTN",
    "a goodbye": b"\x88\x02\x10\x68",
    "an unknown kind": b"\x83\x00",
}
HOSTILE_ANSWERS = {
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH\r\n\r\n",
    "a page": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
    "elsewhere": b"HTTP/1.1 302 Found\r\nLocation: http://x/\x1b[31m\r\nContent-Length: 0\r\n\r\n",
    "a cut frame": (
        b"HTTP/1.1 200 OK\r\nPosterion-Model: m@d\r\nContent-Length: 8\r\n"
        b'ETag: "' + STABLE.encode() + b'"\r\n'
        b"Content-Type: application/vnd.posterion.frame\r\n\r\nPSTN\1\0\2\0"
    ),
    "an endless head": b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 200_000,
    "garbage": b"HTTP/1.1 422 No\r\nContent-Length: 4\r\n\r\n\xff\x00{\x01",
    "a wrong proof": (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: AAAA\r\n\r\n"
    ),
}


@pytest.mark.parametrize("content", HOSTILE_MESSAGES.values(), ids=HOSTILE_MESSAGES.keys())
def test_a_hostile_session_is_one_line(driver: Path, content: bytes) -> None:
    with answering(content, upgrades=True) as url:
        said = run_failing(driver, spring_job(url), transport="websocket")
    assert said.startswith(("connection-failed: ", "invalid-reply: ")), said


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("content", HOSTILE_ANSWERS.values(), ids=HOSTILE_ANSWERS.keys())
def test_a_hostile_answer_is_one_line(driver: Path, content: bytes, transport: Transport) -> None:
    with answering(content, upgrades=False) as url:
        said = run_failing(driver, spring_job(url), transport=transport)
    assert said.isprintable()
    assert said.startswith(
        ("connection-failed: ", "invalid-reply: ", "request-refused: ", "out-of-memory: ")
    ), said


def test_it_compiles_with_other_compilers(tmp_path: Path) -> None:
    """With the C++ compiler's view of the header, and with clang where there is one."""
    (tmp_path / "use.cpp").write_text('#include "posterion.h"\nint main() { return 0; }\n')
    flags = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{sources('c')}"]
    subprocess.run(["c++", *flags, "-c", "use.cpp"], cwd=tmp_path, check=True, timeout=60)
    if shutil.which("clang"):
        run(["make", "-s", "-C", str(sources("c")), "CC=clang", f"BUILD={tmp_path}"])


def _disturbed(go: Callable[[str], Found], second: SpringBackend) -> Found:
    """What a run comes to whose service is replaced on the way."""
    results: list[Found] = []
    first = SlowSprings()
    with spring_service(first) as service:
        thread = threading.Thread(target=lambda: results.append(go(service.url)))
        thread.start()
        deadline = time.monotonic() + 30.0
        while len(first.calls) < 50 and time.monotonic() < deadline:
            time.sleep(0.001)
    with spring_service(second, port=service.port):
        thread.join(120.0)
    (found,) = results
    return found
