"""The demo as a user runs it, with the sample set that ships with the package."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from posterion.demo import run_demo, service
from posterion.demo.failure import DemoFailed
from posterion.demo.run import STOPPED
from posterion.demo.service import running_service
from posterion.errors import ConfigurationError
from posterion.serving.processes import descendants
from posterion_store import Store
from tests.support.banks import publish_random_bank
from tests.support.services import is_alive
from tests.support.waiting import until

PROGRAM = Path(sys.executable).with_name("posterion")
PATIENCE_S = 220.0


def check_demo(folder: Path, *options: str) -> None:
    """Run ``posterion demo`` in a folder and check all that it leaves there."""
    done = subprocess.run(
        [str(PROGRAM), "demo", "--json", "demo.json", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("passed") == 5
    document = json.loads((folder / "demo.json").read_text())
    assert document["passed"] is True
    structures = document["structures"]
    assert structures["rest"]["status"] == structures["thermal"]["status"] == "ok"
    assert structures["rest"]["energy"] < structures["thermal"]["energy"]
    assert structures["stretched"]["status"] == "flagged"
    assert structures["unknown_element"]["error"]["code"] == "unsupported-element"
    assert len(document["dynamics"]["moments"]) == 101
    assert document["dynamics"]["drift_mev_per_atom"] < 1.0
    assert (folder / "posterion-demo.png").read_bytes().startswith(b"\x89PNG")


def test_demo_in_one_process_finds_all_as_it_should_be(tmp_path: Path) -> None:
    check_demo(tmp_path, "--in-process")


@pytest.mark.e2e
def test_demo_on_ray_serve_finds_all_as_it_should_be(tmp_path: Path) -> None:
    check_demo(tmp_path)


def test_a_demo_that_is_told_to_stop_leaves_no_service(tmp_path: Path) -> None:
    publish_random_bank(Store.open(tmp_path / "store"), n_samples=2)
    code = (
        "import sys; from pathlib import Path; from posterion.demo import run_demo; "
        "sys.exit(run_demo(in_process=True, json_file=None, picture=Path('demo.png'), "
        "store='store'))"
    )
    demo = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        until(lambda: bool(descendants(demo.pid)))
        started = descendants(demo.pid)
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(PATIENCE_S) == STOPPED
        assert [pid for pid in started if is_alive(pid)] == []
        assert not (tmp_path / "demo.png").exists()
    finally:
        demo.kill()
        demo.wait()


def test_a_service_that_cannot_start_is_quoted(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from posterion.demo import run_demo; "
        "run_demo(in_process=True, json_file=None, picture=Path('demo.png'), store='nowhere')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 1
    assert "DemoFailed: the service ended with status 3" in done.stderr
    assert "store-not-found" in done.stderr


@pytest.mark.parametrize("in_process", [False, True])
def test_a_service_that_is_not_ready_in_time_names_the_way_out(
    monkeypatch: pytest.MonkeyPatch, *, in_process: bool
) -> None:
    monkeypatch.setattr(service, "START_DEADLINE_S", 0.0)
    with pytest.raises(DemoFailed) as caught, running_service(store=None, in_process=in_process):
        pytest.fail("nothing starts in no time")
    assert "was not ready after 0 s" in caught.value.detail
    assert ("posterion demo --in-process" in caught.value.detail) is not in_process


def test_a_missing_client_is_answered_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "posterion_client", None)
    with pytest.raises(ConfigurationError, match="pip install -e clients/python"):
        run_demo(in_process=True, json_file=None, picture=tmp_path / "demo.png")


def test_a_folder_that_is_missing_is_named_before_anything_starts(tmp_path: Path) -> None:
    picture = tmp_path / "nowhere" / "demo.png"
    before = descendants(os.getpid())
    with pytest.raises(ConfigurationError, match="nowhere"):
        run_demo(in_process=True, json_file=None, picture=picture)
    assert descendants(os.getpid()) == before
