"""What is published can be found again, by name, alias, version or digits."""

import pytest

from posterion_store import (
    AmbiguousVersion,
    CorruptObject,
    InvalidName,
    MissingObject,
    Store,
    UnknownBank,
    UnknownVersion,
)
from posterion_store.layout import VersionKey, version_key
from tests.support.sample_sets import (
    CARD,
    make_manifest,
    publish_sample_set,
    put_sample_set,
    sample_bytes,
)


def test_a_published_sample_set_reads_back_as_it_was(store: Store) -> None:
    manifest = put_sample_set(store)
    digest = store.publish(manifest)
    assert store.manifest(digest) == manifest
    assert [store.read_blob(s) for s in manifest.samples] == [
        sample_bytes(1, 0),
        sample_bytes(1, 1),
    ]
    assert store.read_blob(manifest.files["README.md"]) == CARD


def test_publishing_again_changes_nothing(store: Store) -> None:
    first = publish_sample_set(store)
    objects = store.storage.objects()
    assert publish_sample_set(store) == first
    assert store.storage.objects() == objects


def test_publishing_moves_no_alias(store: Store) -> None:
    publish_sample_set(store)
    assert store.aliases("ethanol") == {}
    assert store.heads() == {}
    with pytest.raises(UnknownVersion, match=r"aliases of ethanol \(none\), got 'stable'"):
        store.resolve("ethanol")


def test_a_manifest_without_its_blobs_is_not_published(store: Store) -> None:
    ref = store.put_blob(b"present")
    absent = ref.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(MissingObject) as caught:
        store.publish(make_manifest([absent], ref, name="ethanol", number=1))
    assert caught.value.key == "blobs/sha256/" + "0" * 64
    assert store.names() == []


def test_a_manifest_that_states_a_wrong_size_is_not_published(store: Store) -> None:
    ref = store.put_blob(b"present")
    shorter = ref.model_copy(update={"size": 3})
    with pytest.raises(CorruptObject, match="expected 3 bytes, got 7"):
        store.publish(make_manifest([shorter], ref, name="ethanol", number=1))


def test_names_and_versions_are_listed_in_order(store: Store) -> None:
    digests = [publish_sample_set(store, "ethanol", number) for number in (2, 1, 3)]
    publish_sample_set(store, "benzene", 1)
    assert store.names() == ["benzene", "ethanol"]
    entries = store.versions("ethanol")
    assert [entry.digest for entry in entries] == [digests[1], digests[0], digests[2]]
    assert [entry.created_at[:10] for entry in entries] == [
        "2025-01-02",
        "2025-01-03",
        "2025-01-04",
    ]
    assert [entry.version for entry in entries] == [entry.digest[7:23] for entry in entries]


def test_every_way_to_name_a_version_leads_to_it(store: Store) -> None:
    first, second = (publish_sample_set(store, number=number) for number in (1, 2))
    store.promote("ethanol", first, by="me")
    store.promote("ethanol", second, alias="candidate", by="me")
    assert store.resolve("ethanol") == store.resolve("ethanol", "stable") == first
    assert store.resolve("ethanol", "candidate") == second
    for text in (second, second[7:], second[7:23], second[7:15]):
        assert store.resolve("ethanol", text) == second
    assert store.aliases("ethanol") == {"candidate": second, "stable": first}


def test_digits_that_begin_two_versions_are_refused_with_both(store: Store) -> None:
    twins = [f"sha256:{'ab' * 16}{digit * 32}" for digit in "01"]
    for digest in twins:
        place = VersionKey(name="ethanol", created_at="2025-01-01T00:00:00Z", digest=digest)
        store.storage.create(version_key(place), b"")
    with pytest.raises(AmbiguousVersion) as caught:
        store.resolve("ethanol", "abababab")
    assert all(digest[7:] in caught.value.detail for digest in twins)
    assert store.resolve("ethanol", twins[1][7:40]) == twins[1]


@pytest.mark.parametrize("text", ["0" * 8, "sha256:" + "0" * 64, "no-such-alias"])
def test_an_unknown_version_is_told_what_there_is(store: Store, text: str) -> None:
    digest = publish_sample_set(store)
    store.promote("ethanol", digest, by="me")
    with pytest.raises(UnknownVersion, match=f"stable|{digest[7:23]}"):
        store.resolve("ethanol", text)


@pytest.mark.parametrize("text", ["abc123", "0" * 65, "../stable", "", "STABLE", "sha256:12345678"])
def test_a_text_that_is_no_version_is_refused(store: Store, text: str) -> None:
    publish_sample_set(store)
    with pytest.raises((InvalidName, UnknownVersion)):
        store.resolve("ethanol", text)


def test_an_unknown_bank_is_told_which_there_are(store: Store) -> None:
    publish_sample_set(store, "benzene")
    for version in (None, "stable", "01234567"):
        with pytest.raises(UnknownBank, match=r"\(benzene\), got 'ethanol'"):
            store.resolve("ethanol", version)


def test_a_bank_whose_name_begins_like_another_is_another(store: Store) -> None:
    publish_sample_set(store, "ethanol-large")
    with pytest.raises(UnknownBank):
        store.versions("ethanol")
