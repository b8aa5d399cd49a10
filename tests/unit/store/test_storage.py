"""Which places can hold a store, and what is done to them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from posterion_store import (
    AlienObject,
    Store,
    StoreNotFound,
    StoreReadOnly,
    StoreUnreachable,
    UnsafeBackend,
    UnsupportedFormat,
    UnsupportedUrl,
)
from posterion_store.location import open_storage
from tests.support.careless_s3 import CarelessS3
from tests.support.sample_sets import publish_sample_set


@pytest.fixture
def s3_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    return monkeypatch


@pytest.fixture
def careless(s3_environment: pytest.MonkeyPatch) -> Iterator[CarelessS3]:
    with CarelessS3() as server:
        s3_environment.setenv("AWS_ENDPOINT_URL", server.url)
        yield server


def test_a_backend_that_overwrites_is_refused(careless: CarelessS3) -> None:
    with pytest.raises(UnsafeBackend, match=r"s3://bucket/models/store\.json: created twice"):
        Store.open("s3://bucket/models")
    assert list(careless.objects) == ["/bucket/models/store.json"]


def test_a_server_that_is_down_is_named_within_seconds(careless: CarelessS3) -> None:
    careless.close()
    with pytest.raises(StoreUnreachable, match=r"^s3://bucket/models/store\.json: "):
        Store.open("s3://bucket/models")


def test_plain_http_is_used_only_if_the_endpoint_says_so(
    s3_environment: pytest.MonkeyPatch, careless: CarelessS3
) -> None:
    s3_environment.setenv("AWS_ENDPOINT_URL", careless.url.replace("http:", "https:"))
    with pytest.raises(StoreUnreachable):
        Store.open("s3://bucket/models")
    assert careless.objects == {}


@pytest.mark.parametrize(
    "url", ["ftp://host/x", "s3://", "file://host/x", "http://host/x", "s3:///prefix", "://"]
)
def test_a_url_that_is_not_served_is_told_which_are(url: str) -> None:
    with pytest.raises(UnsupportedUrl, match="a path, file:///path, s3://bucket/prefix"):
        Store.open(url)


@pytest.mark.parametrize("url", ["s3://key:hunter2@bucket/x", "s3://bucket/x?token=hunter2"])
def test_credentials_in_a_url_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UnsupportedUrl) as caught:
        Store.open(url)
    assert "hunter2" not in caught.value.detail


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UnsupportedUrl, match="a directory, not a file"):
        Store.open(tmp_path / "file")


def test_a_path_and_a_file_url_open_the_same_store(tmp_path: Path) -> None:
    root = tmp_path / "with space"
    digest = publish_sample_set(Store.open(str(root)))
    assert Store.open(root.as_uri()).versions("ethanol")[0].digest == digest


def test_reading_where_there_is_no_store_makes_none(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFound, match="no such directory"):
        Store.open(tmp_path / "absent", read_only=True)
    with pytest.raises(StoreNotFound, match=r"found no store\.json"):
        Store.open(tmp_path, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text('{"format":"grocery","format_version":1}')
    with pytest.raises(AlienObject, match="expected format 'posterion-store', got 'grocery'"):
        Store.open(tmp_path)


def test_a_store_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text('{"format":"posterion-store","format_version":2}')
    with pytest.raises(UnsupportedFormat, match="store has format version 2"):
        Store.open(tmp_path, read_only=True)


def test_a_read_only_store_is_read_without_any_write(local: Store) -> None:
    digest = publish_sample_set(local)
    local.promote("ethanol", digest, by="ann")

    def state() -> list[tuple[str, int, int]]:
        root = Path(local.url)
        return [(str(p), p.stat().st_mtime_ns, p.stat().st_ino) for p in (root, *root.rglob("*"))]

    before = state()
    store = Store.open(local.url, read_only=True)
    manifest = store.manifest(store.resolve("ethanol"))
    assert all(store.read_blob(sample) for sample in manifest.samples)
    assert store.heads() == {("ethanol", "stable"): (1, digest)}
    assert store.verify().findings == ()
    assert len(store.history("ethanol")) == 1
    for write in (
        lambda: store.put_blob(b"new"),
        lambda: store.publish(manifest),
        lambda: store.promote("ethanol", digest, alias="candidate", by="ann"),
    ):
        with pytest.raises(StoreReadOnly, match="opened read-only"):
            write()
    assert state() == before


def test_the_disk_has_the_bytes_before_the_name_and_the_name_before_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage(tmp_path, read_only=False)
    events: list[tuple[str, str]] = []
    fsync, link = os.fsync, os.link

    def recording_fsync(descriptor: int) -> None:
        events.append(("fsync", Path(f"/proc/self/fd/{descriptor}").readlink().name.split("#")[0]))
        fsync(descriptor)

    def recording_link(source: Path, target: Path) -> None:
        events.append(("link", target.name))
        link(source, target)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(os, "link", recording_link)
    assert storage.create("folder/object", b"data")
    assert events == [
        ("fsync", tmp_path.name),  # the new folder's own name
        ("fsync", "object"),
        ("link", "object"),
        ("fsync", "folder"),
    ]
    events.clear()
    assert not storage.create("folder/object", b"other")
    assert events == [("fsync", "folder")]  # another writer's name may not be on the disk yet
    assert storage.read("folder/object") == b"data"
    assert storage.staging_files() == []


def test_a_name_taken_meanwhile_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from posterion_store import local_storage

    storage = open_storage(tmp_path, read_only=False)
    write = local_storage.write_durably

    def overtaken(path: Path, data: bytes) -> None:
        write(path, data)
        (tmp_path / "object").write_bytes(b"rival")

    monkeypatch.setattr(local_storage, "write_durably", overtaken)
    assert not storage.create("object", b"mine")
    assert storage.read("object") == b"rival"
    assert storage.staging_files() == []


def test_the_public_names_are_those_declared() -> None:
    import posterion_store

    public = {name for name, value in vars(posterion_store).items() if isinstance(value, type)}
    assert public | {"manifest_digest"} == set(posterion_store.__all__)
