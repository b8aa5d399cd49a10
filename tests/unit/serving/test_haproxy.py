"""The program that Ray starts as HAProxy keeps HAProxy's own pages on loopback."""

import subprocess
from pathlib import Path

import pytest

from posterion.api.reply_schemas import Problem
from posterion.serving.haproxy import REFUSED, haproxy_binary, write_wrapper

CONFIG = """defaults
    mode http
    timeout client 3600s
    errorfile 502 /elsewhere/500.http
    errorfile 503 /elsewhere/500.http
frontend prometheus
    bind :9101
    mode http
frontend http_frontend
    bind {public}:8000
listen stats
  bind *:8404
  stats enable
"""


def start(tmp_path: Path, config: str) -> subprocess.CompletedProcess[str]:
    """Start the program as Ray does, with ``cat`` in HAProxy's place."""
    path = tmp_path / "haproxy.cfg"
    path.write_text(config)
    program = write_wrapper(
        tmp_path, Path("/bin/cat"), http_port=8000, pages=(9101, 8404), header_timeout_s=2.5
    )
    return subprocess.run(
        [program, "-u", "-f", str(path)], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("public", ["127.0.0.1", "*", "192.0.2.7"])
def test_only_the_pages_move_to_loopback(tmp_path: Path, public: str) -> None:
    start(tmp_path, CONFIG.format(public=public))
    binds = [
        line.strip()
        for line in (tmp_path / "haproxy.cfg").read_text().splitlines()
        if "bind" in line
    ]
    assert binds == ["bind 127.0.0.1:9101", f"bind {public}:8000", "bind 127.0.0.1:8404"]


def test_the_time_for_headers_is_limited_for_every_frontend(tmp_path: Path) -> None:
    start(tmp_path, CONFIG.format(public="127.0.0.1"))
    lines = (tmp_path / "haproxy.cfg").read_text().splitlines()
    assert lines[:2] == ["defaults", "    timeout http-request 2500ms"]


def test_what_haproxy_says_itself_is_a_problem_document(tmp_path: Path) -> None:
    start(tmp_path, CONFIG.format(public="127.0.0.1"))
    lines = (tmp_path / "haproxy.cfg").read_text().splitlines()
    files = {
        int(line.split()[1]): Path(line.split()[2])
        for line in lines
        if line.lstrip().startswith("errorfile")
    }
    assert len(files) == len([line for line in lines if "errorfile" in line])
    assert set(files) == {400, 502, 503, 504}
    head, _, body = files[502].read_bytes().partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    headers = dict(field.split(": ") for field in fields)
    problem = Problem.model_validate_json(body)
    assert status == "HTTP/1.1 503 Service Unavailable"
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Retry-After"] == "1"
    assert int(headers["Content-Length"]) == len(body)
    assert (problem.code, problem.status, problem.retryable) == ("not-ready", 503, True)
    assert files[504].read_bytes() == files[503].read_bytes() == files[502].read_bytes()
    assert b" 400 Bad Request\r\n" in files[400].read_bytes()
    assert b'"malformed-body"' in files[400].read_bytes()


def test_a_configuration_without_a_place_for_the_limit_is_refused(tmp_path: Path) -> None:
    done = start(tmp_path, CONFIG.format(public="127.0.0.1").replace("defaults", "defaults new"))
    assert done.returncode == REFUSED
    assert "timeout http-request" in done.stderr


def test_doing_it_twice_changes_nothing(tmp_path: Path) -> None:
    start(tmp_path, CONFIG.format(public="*"))
    once = (tmp_path / "haproxy.cfg").read_text()
    start(tmp_path, once)
    assert (tmp_path / "haproxy.cfg").read_text() == once


@pytest.mark.parametrize(
    "line", ["bind *:7777", "bind :7777", "bind 0.0.0.0:7777", "bind [::]:7777"]
)
def test_an_unknown_bind_to_all_interfaces_is_refused(tmp_path: Path, line: str) -> None:
    done = start(tmp_path, CONFIG.format(public="127.0.0.1") + f"frontend new\n    {line}\n")
    assert done.returncode == REFUSED
    assert line in done.stderr


def test_the_real_haproxy_takes_the_arguments(tmp_path: Path) -> None:
    program = write_wrapper(
        tmp_path, haproxy_binary(), http_port=8000, pages=(9101, 8404), header_timeout_s=10.0
    )
    done = subprocess.run([program, "-v"], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0
    assert "HAProxy version" in done.stdout


def test_only_its_owner_may_read_or_run_it(tmp_path: Path) -> None:
    program = write_wrapper(
        tmp_path, Path("/bin/true"), http_port=1, pages=(2, 3), header_timeout_s=10.0
    )
    assert program.stat().st_mode & 0o777 == 0o700
