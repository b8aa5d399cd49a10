"""The serveConfigV2 of a rendered overlay starts on a real Ray and answers a structure."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import yaml

from posterion.inference.loading import load_bank
from posterion.inference.predictor import Predictor
from posterion.serving.ports import free_ports
from posterion.serving.processes import descendants
from posterion.serving.ray_environment import make_temp_dir, ray_environment
from posterion.serving.settings import ServeSettings
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.prediction import Prediction
from posterion_store import Store
from tests.support.banks import ethanol, publish_random_bank

# eV/Angstrom; float64 on one machine: only the order of summation differs.
FORCE_TOLERANCE = 1e-9
START_S = 180.0
STOP_S = 40.0

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(START_S + STOP_S + 60.0)]


@pytest.fixture
def private_directory() -> Iterator[Path]:
    """A directory whose path is short enough for Ray's sockets; pytest's own is not."""
    directory = make_temp_dir(ServeSettings())
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def config(
    checker: ModuleType, rendered: dict[str, list[dict[str, Any]]], private_directory: Path
) -> dict[str, Any]:
    """The configuration of the cpu overlay; only the address and the store are this machine's."""
    service = next(m for m in rendered["cpu"] if m["kind"] == "RayService")
    document: dict[str, Any] = checker.serve_config(service)
    (port,) = free_ports(1)
    document["http_options"] |= {"host": "127.0.0.1", "port": port}
    store = private_directory / "store"
    publish_random_bank(Store.open(store))
    document["applications"][0]["args"]["store"] = str(store)
    return document


@pytest.fixture
def address(config: dict[str, Any], private_directory: Path) -> Iterator[str]:
    """Base URL of the application, deployed by Ray's own command."""
    file = private_directory / "serve.yaml"
    file.write_text(yaml.safe_dump(config))
    log = private_directory / "serve.log"
    port = config["http_options"]["port"]
    environment = os.environ | ray_environment(ServeSettings(), private_directory, port=port)
    environment |= {"RAY_TMPDIR": str(private_directory), "PYTHONWARNINGS": "default"}
    command = [sys.executable, "-m", "ray.serve.scripts", "run", str(file)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _await_ready(url, process, log)
        yield url
    finally:
        _end(process)


def _await_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz", timeout=5.0).status_code == httpx.codes.OK:
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5)
    pytest.fail(f"no answer within {START_S} s:\n{log.read_text(errors='replace')[-4000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the command and whatever it started, by process id."""
    started = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in started:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_the_deployed_manifest_answers_as_the_predictor_does(
    address: str, config: dict[str, Any]
) -> None:
    structure = ethanol()
    sites = {
        "numbers": structure.atomic_numbers.tolist(),
        "positions": structure.positions.tolist(),
    }
    body = {"structures": [sites], "precision": "float64"}
    reply = httpx.post(f"{address}/v1/models/ethanol/predict", json=body, timeout=60.0)
    assert reply.status_code == httpx.codes.OK, reply.text
    (result,) = reply.json()["results"]

    store = Store.open(config["applications"][0]["args"]["store"], read_only=True)
    predictor = Predictor(load_bank(store, "ethanol"))
    (expected,) = predictor.predict([structure], EvaluationOptions(precision="float64"))
    assert isinstance(expected, Prediction)
    assert result["forces"] == pytest.approx(expected.forces, abs=FORCE_TOLERANCE)
