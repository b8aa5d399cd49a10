"""One real service in one process: the same answers, no Ray, a clean end."""

import subprocess
import sys
from pathlib import Path

import pytest

from posterion.serving.settings import ServeSettings
from posterion_store import Store
from tests.support.banks import NUMBERS, POSITIONS, publish_random_bank
from tests.support.half_open import all_closed_after, half_open_connections
from tests.support.services import running_service

ETHANOL = {"numbers": NUMBERS.tolist(), "positions": POSITIONS.tolist()}


def test_it_predicts_and_ends_when_asked(tmp_path: Path) -> None:
    digest = publish_random_bank(Store.open(tmp_path), n_samples=2)
    with running_service("--store", str(tmp_path), "--in-process", "--device", "cpu") as service:
        with service.client() as client:
            assert client.get("/readyz").status_code == 200
            document = client.post("/v1/predict", json={"structures": [ETHANOL]}).json()
        assert document["model"]["digest"] == digest
        assert service.pids() == [service.process.pid]
        (listener,) = service.listeners()
        assert listener.on_loopback
        service.ask_to_end()
        assert service.wait_for_end() == 0, service.logged()


@pytest.mark.e2e
def test_slow_clients_are_cut_off_and_the_others_answered(tmp_path: Path) -> None:
    publish_random_bank(Store.open(tmp_path), n_samples=2)
    promised_s = ServeSettings().header_timeout_s
    options = ("--store", str(tmp_path), "--in-process", "--device", "cpu")
    with (
        running_service(*options) as service,
        half_open_connections(service.url, 50) as connections,
        service.client() as client,
    ):
        reply = client.post("/v1/predict", json={"structures": [ETHANOL]})
        assert reply.status_code == 200
        all_closed_after(connections, deadline_s=promised_s + 5.0)


def test_one_process_never_imports_ray() -> None:
    code = "import sys, posterion.serving.single_process; sys.exit('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], timeout=120, check=False)
    assert done.returncode == 0


def test_a_store_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("posterion")
    missing = str(tmp_path / "nowhere")
    done = subprocess.run(
        [str(program), "serve", "--port", "0", "--store", missing],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 3
    assert missing in done.stderr
    assert "Traceback" not in done.stderr
