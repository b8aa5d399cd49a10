"""Every kind of damage is found, named, and told apart from what a crash leaves."""

import os

import pytest

from posterion_store import (
    CorruptObject,
    DamagedObject,
    InvalidManifest,
    Store,
    StoreNotFound,
    UnsupportedFormat,
)
from posterion_store.canonical_json import encode
from posterion_store.layout import VersionKey, blob_key, manifest_key, version_key
from posterion_store.names import digest_of
from tests.support.damage import (
    BLOB_DAMAGE,
    Damage,
    empty,
    flip,
    path_of,
    remove,
    truncate,
)
from tests.support.sample_sets import publish_sample_set, sample_bytes


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


def test_publishing_again_does_not_heal_and_says_so(local: Store, digest: str) -> None:
    sample = local.manifest(digest).samples[0]
    flip(path_of(local, blob_key(sample.sha256)))
    with pytest.raises(CorruptObject, match=sample.sha256):
        local.put_blob(sample_bytes(1, 0))


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
