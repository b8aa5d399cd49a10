"""Writers in several processes lose no promotion, and killed ones leave nothing half written."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from posterion_store import Store
from tests.support.sample_sets import publish_sample_set

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("publisher.py")
DEADLINE_S = 60


def start(stack: ExitStack, *arguments: str) -> subprocess.Popen[str]:
    """Start a process of ``publisher.py`` that cannot outlive the test."""
    process = stack.enter_context(
        subprocess.Popen(
            [sys.executable, str(SCRIPT), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    )
    stack.callback(process.kill)
    return process


def race(url: str, n_processes: int, n_sets: int) -> dict[int, str]:
    """Let processes publish and promote at once; returns what each won, by number."""
    won: list[tuple[int, str]] = []
    with ExitStack() as stack:
        racers = [
            start(stack, "race", url, str(1 + number * n_sets), str(n_sets))
            for number in range(n_processes)
        ]
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        for racer in racers:
            output, _ = racer.communicate(timeout=DEADLINE_S)
            assert racer.returncode == 0
            lines = [line.split() for line in output.splitlines()]
            won += [(int(seq), digest) for seq, digest in lines]
    assert len(won) == len(dict(won))
    return dict(won)


def check(url: str, won: dict[int, str]) -> None:
    """Compare what the processes won with what the store remembers."""
    store = Store.open(url, read_only=True)
    history = store.history("ethanol")
    assert {entry.seq: entry.manifest for entry in history} == won
    assert sorted(won) == list(range(1, len(won) + 1))
    assert [e.prev for e in history] == [None, *(e.manifest for e in history[:-1])]
    assert {entry.digest for entry in store.versions("ethanol")} == set(won.values())
    assert store.verify().findings == ()


def test_promotions_from_several_processes_are_all_kept_without_gaps(tmp_path: Path) -> None:
    url = str(tmp_path / "store")
    won = race(url, n_processes=4, n_sets=6)
    assert len(won) == 24
    check(url, won)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """An S3 server on a free loopback port, in this process; yields the URL of a store."""
    from moto.server import ThreadedMotoServer

    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # The server keeps its buckets in this process, from one test to the next.
    bucket = hashlib.sha256(str(tmp_path).encode()).hexdigest()[:16]
    endpoint = f"http://{host}:{port}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    try:
        with urlopen(Request(f"{endpoint}/{bucket}", method="PUT")):  # noqa: S310 - http, loopback
            yield f"s3://{bucket}/some/models"
    finally:
        server.stop()


def test_promotions_on_s3_from_several_processes_are_all_kept_without_gaps(s3: str) -> None:
    won = race(s3, n_processes=2, n_sets=5)
    assert len(won) == 10
    check(s3, won)


def test_s3_keeps_two_stores_under_two_prefixes_apart(s3: str) -> None:
    store, other = Store.open(s3), Store.open(f"{s3}-2")
    digest = publish_sample_set(store)
    store.promote("ethanol", digest, by="ann")
    assert other.names() == []
    watching = Store.open(s3, read_only=True)
    assert watching.heads() == {("ethanol", "stable"): (1, digest)}
    second = publish_sample_set(store, number=2)
    store.promote("ethanol", second, by="ann")
    assert watching.heads() == {("ethanol", "stable"): (2, second)}
    manifest = watching.manifest(watching.resolve("ethanol", second[7:15]))
    assert len(watching.read_blob(manifest.samples[0])) == manifest.samples[0].size


def test_a_publisher_killed_at_any_step_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # nothing here depends on the disk
    with ExitStack() as stack:
        process = start(stack, "crash", str(tmp_path))
        process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0
    stores = sorted(tmp_path.iterdir())
    assert len(stores) > 30
    seen = {"unseen": 0, "published": 0, "promoted": 0}
    for root in stores:
        if not (root / "store.json").exists():
            continue
        store = Store.open(root, read_only=True)
        report = store.verify()
        assert report.ok, report.findings
        for name in store.names():
            for version in store.versions(name):
                assert all(map(store.read_blob, store.manifest(version.digest).blobs))
        aliases = store.aliases("ethanol")
        seen["promoted" if aliases else "published" if store.names() else "unseen"] += 1
        writer = Store.open(root)
        digest = publish_sample_set(writer)
        writer.promote("ethanol", digest, by="second attempt")
        assert store.resolve("ethanol") == digest
        assert len(store.history("ethanol")) == 1
    assert min(seen.values()) > 0, seen
