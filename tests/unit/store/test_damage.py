"""Every kind of damage is found, named, and healed where another store is whole."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from posterion_store import (
    CorruptObject,
    DamagedObject,
    InvalidManifest,
    MissingObject,
    Store,
    StoreNotFound,
    TruncatedObject,
    UnsupportedFormat,
)
from posterion_store.canonical_json import encode
from posterion_store.layout import VersionKey, blob_key, manifest_key, version_key
from posterion_store.names import digest_of
from tests.support.sample_sets import publish_sample_set, sample_bytes

Damage = Callable[[Path], object]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def remove(path: Path) -> None:
    path.unlink()


BLOB_DAMAGE: list[tuple[Damage, type[DamagedObject], str]] = [
    (flip, CorruptObject, "expected sha256 {hex}, got "),
    (truncate, TruncatedObject, "expected {size} bytes, got {less}"),
    (empty, TruncatedObject, "expected {size} bytes, got 0"),
    (lengthen, CorruptObject, "expected {size} bytes, got {more}"),
    (remove, MissingObject, "expected an object, found none"),
]


@pytest.fixture
def digest(local: Store) -> str:
    digest = publish_sample_set(local)
    local.promote("ethanol", digest, by="ann")
    return digest


@pytest.fixture
def mirror(tmp_path: Path, digest: str, local: Store) -> Store:
    """A copy of the store, made while it was whole."""
    import shutil

    shutil.copytree(local.url, tmp_path / "mirror")
    return Store.open(tmp_path / "mirror", read_only=True)


def path_of(store: Store, key: str) -> Path:
    return Path(store.url, key)


@pytest.mark.parametrize(("damage", "kind", "message"), BLOB_DAMAGE)
def test_a_damaged_blob_is_refused_with_its_name_and_what_was_expected(
    local: Store, digest: str, damage: Damage, kind: type[DamagedObject], message: str
) -> None:
    sample = local.manifest(digest).samples[1]
    path = path_of(local, blob_key(sample.sha256))
    damage(path)
    with pytest.raises(kind) as caught:
        local.read_blob(sample)
    assert type(caught.value) is kind
    size = sample.size
    said = message.format(hex=sample.sha256, size=size, less=size - 1, more=size + 1)
    assert caught.value.detail.startswith(f"{path}: {said}")
    assert caught.value.key == blob_key(sample.sha256)


@pytest.mark.parametrize(("damage", "kind", "message"), BLOB_DAMAGE)
def test_verify_finds_a_damaged_blob_and_a_mirror_heals_it(
    local: Store, digest: str, mirror: Store,
    damage: Damage, kind: type[DamagedObject], message: str,
) -> None:  # fmt: skip
    sample = local.manifest(digest).samples[1]
    key = blob_key(sample.sha256)
    damage(path_of(local, key))
    report = local.verify()
    assert [(f.code, f.key, f.harmless) for f in report.findings] == [(kind.code, key, False)]
    assert not report.ok
    assert not local.verify("ethanol").ok
    healed = local.verify(repair_from=mirror)
    assert healed.ok
    assert healed.repaired == (key,)
    assert local.read_blob(sample) == sample_bytes(1, 1)


def test_publishing_again_does_not_heal_and_says_so(local: Store, digest: str) -> None:
    sample = local.manifest(digest).samples[0]
    flip(path_of(local, blob_key(sample.sha256)))
    with pytest.raises(CorruptObject, match=sample.sha256):
        local.put_blob(sample_bytes(1, 0))


@pytest.mark.parametrize("damage", [flip, truncate, empty, lengthen])
def test_a_damaged_manifest_is_refused_and_healed(
    local: Store, digest: str, mirror: Store, damage: Damage
) -> None:
    key = manifest_key(digest)
    damage(path_of(local, key))
    with pytest.raises(CorruptObject, match=f"expected {digest}, got sha256:") as caught:
        local.manifest(digest)
    assert caught.value.key == key
    with pytest.raises(CorruptObject):
        publish_sample_set(local)
    assert [f.code for f in local.verify("ethanol").findings] == ["corrupt-object"]
    assert local.verify(repair_from=mirror).repaired == (key,)
    assert local.verify().findings == ()


def test_damage_behind_a_damaged_manifest_is_healed_too(
    local: Store, digest: str, mirror: Store
) -> None:
    sample = local.manifest(digest).samples[0]
    keys = (manifest_key(digest), blob_key(sample.sha256))
    for key in keys:
        remove(path_of(local, key))
    report = local.verify(repair_from=mirror)
    assert report.findings == ()
    assert report.repaired == keys


def test_a_mirror_that_is_damaged_itself_heals_nothing(
    local: Store, digest: str, mirror: Store
) -> None:
    key = blob_key(local.manifest(digest).samples[0].sha256)
    flip(path_of(local, key))
    truncate(path_of(mirror, key))
    damaged = path_of(local, key).read_bytes()
    report = local.verify(repair_from=mirror)
    assert (report.ok, report.repaired) == (False, ())
    assert path_of(local, key).read_bytes() == damaged


@pytest.mark.parametrize("damage", [flip, truncate, empty, remove])
def test_a_channel_entry_between_its_neighbours_is_healed(
    local: Store, digest: str, tmp_path: Path, damage: Damage
) -> None:
    import shutil

    later = [publish_sample_set(local, number=number) for number in (2, 3)]
    for version in later:
        local.promote("ethanol", version, by="ann")
    shutil.copytree(local.url, tmp_path / "mirror")
    before = local.history("ethanol")
    key = "channels/ethanol/stable/000000000002.json"
    damage(path_of(local, key))
    assert [f.key for f in local.verify().findings] == [key]
    report = local.verify(repair_from=Store.open(tmp_path / "mirror", read_only=True))
    assert report.repaired == (key,)
    assert local.history("ethanol") == before


def test_an_entry_of_a_mirror_that_went_another_way_is_not_taken(
    local: Store, digest: str, mirror: Store
) -> None:
    other = Store.open(mirror.url)
    for number in (2, 3):
        for place in (local, other):
            place.promote("ethanol", publish_sample_set(place, number=number), by="ann")
    key = "channels/ethanol/stable/000000000002.json"
    flip(path_of(local, key))
    damaged = path_of(local, key).read_bytes()
    assert local.verify(repair_from=other).repaired == ()
    assert path_of(local, key).read_bytes() == damaged


def test_the_last_entry_of_a_channel_is_taken_from_a_mirror_that_agrees_so_far(
    local: Store, digest: str, tmp_path: Path
) -> None:
    import shutil

    second = publish_sample_set(local, number=2)
    local.promote("ethanol", second, by="ann")
    shutil.copytree(local.url, tmp_path / "mirror")
    key = "channels/ethanol/stable/000000000002.json"
    flip(path_of(local, key))
    report = local.verify(repair_from=Store.open(tmp_path / "mirror", read_only=True))
    assert report.repaired == (key,)
    assert local.resolve("ethanol") == second


@pytest.mark.parametrize(
    "key",
    [
        "notes.txt",
        "blobs/sha256/README",
        "blobs/model.pt",
        "manifests/latest.json",
        "channels/ethanol/stable/1.json",
        "versions/ethanol/stable",
        "channels/ethanol/000000000001.json",
    ],
)
def test_a_file_that_does_not_belong_is_named_and_left_alone(
    local: Store, digest: str, mirror: Store, key: str
) -> None:
    path = path_of(local, key)
    path.write_bytes(b"?")
    report = local.verify(repair_from=mirror)
    assert [(f.code, f.key) for f in report.findings] == [("alien-object", key)]
    assert path.read_bytes() == b"?"
    assert local.resolve("ethanol") == digest
    assert len(local.versions("ethanol")) == 1


def test_a_blob_under_a_name_of_its_own_choice_is_found(local: Store, digest: str) -> None:
    key = blob_key("ab" * 32)
    path_of(local, key).write_bytes(b"alien")
    finding = local.verify().findings[0]
    assert (finding.code, finding.key) == ("corrupt-object", key)


def test_a_manifest_listed_under_another_bank_is_alien(local: Store, digest: str) -> None:
    manifest = local.manifest(digest)
    for place in (
        VersionKey(name="benzene", created_at=manifest.created_at, digest=digest),
        VersionKey(name="ethanol", created_at="2024-01-01T00:00:00Z", digest=digest),
    ):
        key = version_key(place)
        local.storage.create(key, b"")
        assert ("alien-object", key) in {(f.code, f.key) for f in local.verify().findings}


def test_a_version_marker_must_be_empty(local: Store, digest: str) -> None:
    created_at = local.manifest(digest).created_at
    key = version_key(VersionKey(name="ethanol", created_at=created_at, digest=digest))
    path_of(local, key).write_bytes(b"x")
    assert [(f.code, f.key) for f in local.verify().findings] == [("alien-object", key)]


def test_bytes_with_the_right_digest_that_are_no_manifest_are_refused(local: Store) -> None:
    data = b'{"format_version":1}'
    digest = digest_of(data)
    local.storage.create(manifest_key(digest), data)
    with pytest.raises(InvalidManifest, match="/name: Field required"):
        local.manifest(digest)
    assert [f.code for f in local.verify().findings] == ["invalid-manifest"]


def test_a_manifest_of_a_newer_release_is_told_apart_from_damage(local: Store, digest: str) -> None:
    data = encode({**local.manifest(digest).model_dump(mode="json"), "format_version": 2})
    newer = digest_of(data)
    local.storage.create(manifest_key(newer), data)
    with pytest.raises(UnsupportedFormat, match="install a newer posterion"):
        local.manifest(newer)


def test_what_a_crash_left_is_reported_but_is_no_damage(local: Store, digest: str) -> None:
    orphan = local.put_blob(b"its manifest was never written")
    old, young = (path_of(local, f"blobs/sha256/{'c' * 64}#{n}") for n in (1, 2))
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    report = local.verify()
    assert report.ok
    assert [(f.code, f.key, f.harmless) for f in report.findings] == [
        ("orphan-object", blob_key(orphan.sha256), True),
        ("staging-file", f"blobs/sha256/{'c' * 64}#1", True),
    ]


def test_verifying_a_bank_looks_only_at_it(local: Store, digest: str) -> None:
    other = publish_sample_set(local, "benzene", 2)
    remove(path_of(local, blob_key(local.manifest(other).samples[0].sha256)))
    assert local.verify("ethanol").findings == ()
    assert not local.verify("benzene").ok


def test_a_sound_store_has_no_findings(store: Store) -> None:
    for number in (1, 2):
        store.promote("ethanol", publish_sample_set(store, number=number), by="ann")
    store.rollback("ethanol", by="ann")
    report = store.verify()
    assert (report.findings, report.n_manifests, report.n_blobs) == ((), 2, 5)
    assert report.n_objects == 1 + 2 + 2 + 3 + 5


@pytest.mark.parametrize("damage", [truncate, empty])
def test_a_damaged_description_of_the_store_is_refused(
    local: Store, digest: str, damage: Damage
) -> None:
    damage(path_of(local, "store.json"))
    for read_only in (True, False):
        with pytest.raises(CorruptObject, match=r"store\.json: .* delete it and open the store"):
            Store.open(local.url, read_only=read_only)
    path_of(local, "store.json").unlink()
    with pytest.raises(StoreNotFound):
        Store.open(local.url, read_only=True)
    assert Store.open(local.url).resolve("ethanol") == digest
