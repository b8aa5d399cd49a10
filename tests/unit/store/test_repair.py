"""What is damaged is healed from another store, and nothing is taken that was not here."""

import shutil
from pathlib import Path

import pytest

from posterion_store import (
    CorruptObject,
    DamagedObject,
    Store,
)
from posterion_store.layout import blob_key, manifest_key
from tests.support.damage import (
    BLOB_DAMAGE,
    Damage,
    empty,
    flip,
    lengthen,
    path_of,
    remove,
    truncate,
)
from tests.support.sample_sets import publish_sample_set, sample_bytes


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
    second = publish_sample_set(local, number=2)
    local.promote("ethanol", second, by="ann")
    shutil.copytree(local.url, tmp_path / "mirror")
    key = "channels/ethanol/stable/000000000002.json"
    flip(path_of(local, key))
    report = local.verify(repair_from=Store.open(tmp_path / "mirror", read_only=True))
    assert report.repaired == (key,)
    assert local.resolve("ethanol") == second
