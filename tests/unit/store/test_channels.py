"""An alias moves forward and back, and every move stays on record."""

import pytest

from posterion_store import (
    AlienObject,
    ChannelContention,
    ChannelEntry,
    ChannelMoved,
    CorruptObject,
    InvalidName,
    MissingObject,
    NothingToRollBack,
    Store,
    UnknownVersion,
    channel,
)
from posterion_store.layout import ChannelKey, channel_key
from posterion_store.object_storage import ObstoreStorage
from tests.support.sample_sets import publish_sample_set


@pytest.fixture
def published(store: Store) -> list[str]:
    return [publish_sample_set(store, number=number) for number in range(1, 5)]


def entry_key(seq: int) -> str:
    return channel_key(ChannelKey(name="ethanol", alias="stable", seq=seq))


def test_a_promotion_is_recorded(store: Store, published: list[str]) -> None:
    first = store.promote("ethanol", published[0], by="ann")
    second = store.promote("ethanol", published[1], by="bob")
    assert store.history("ethanol") == [first, second]
    assert (first.seq, first.prev, first.by, first.action) == (1, None, "ann", "promote")
    assert (second.seq, second.prev, second.by) == (2, published[0], "bob")
    assert second.at.endswith("Z")
    assert first.nonce != second.nonce


def test_promoting_what_is_promoted_writes_nothing(store: Store, published: list[str]) -> None:
    entry = store.promote("ethanol", published[0], by="ann")
    assert store.promote("ethanol", published[0][7:23], by="bob") == entry
    assert len(store.history("ethanol")) == 1


def test_aliases_move_apart(store: Store, published: list[str]) -> None:
    store.promote("ethanol", published[0], by="ann")
    store.promote("ethanol", published[1], alias="candidate", by="ann")
    assert store.heads() == {
        ("ethanol", "candidate"): (1, published[1]),
        ("ethanol", "stable"): (1, published[0]),
    }
    store.promote("ethanol", "candidate", by="ann")
    assert store.resolve("ethanol") == published[1]


def test_each_rollback_undoes_one_promotion(store: Store, published: list[str]) -> None:
    for digest in published[:3]:
        store.promote("ethanol", digest, by="ann")
    assert store.rollback("ethanol", by="ann").manifest == published[1]
    assert store.rollback("ethanol", by="ann").manifest == published[0]
    with pytest.raises(NothingToRollBack, match=published[0][7:23]):
        store.rollback("ethanol", by="ann")
    store.promote("ethanol", published[3], by="ann")
    assert store.rollback("ethanol", by="ann").manifest == published[0]
    assert [e.action[0] for e in store.history("ethanol")] == list("ppprrpr")
    assert [e.seq for e in store.history("ethanol")] == list(range(1, 8))


def test_rolling_back_to_a_version_needs_that_it_was_there(
    store: Store, published: list[str]
) -> None:
    for digest in published[:3]:
        store.promote("ethanol", digest, by="ann")
    with pytest.raises(NothingToRollBack, match="never pointed to"):
        store.rollback("ethanol", to=published[3], by="ann")
    assert store.rollback("ethanol", to=published[0], by="ann").manifest == published[0]
    with pytest.raises(NothingToRollBack):
        store.rollback("ethanol", by="ann")


def test_an_alias_that_was_never_set_cannot_be_rolled_back(
    store: Store, published: list[str]
) -> None:
    with pytest.raises(NothingToRollBack, match="points to nothing"):
        store.rollback("ethanol", by="ann")


def test_an_alias_that_moves_away_and_back_is_seen_to_have_moved(
    store: Store, published: list[str]
) -> None:
    store.promote("ethanol", published[0], by="ann")
    before = store.heads()
    store.promote("ethanol", published[1], by="ann")
    store.promote("ethanol", published[0], by="ann")
    after = store.heads()
    assert before["ethanol", "stable"] == (1, published[0])
    assert after["ethanol", "stable"] == (3, published[0])


def test_a_writer_with_a_stale_view_cannot_overwrite_an_entry(
    store: Store, published: list[str]
) -> None:
    store.promote("ethanol", published[0], by="ann")
    stale = store.history("ethanol")[-1]
    store.promote("ethanol", published[1], by="ann")
    store.promote("ethanol", published[0], by="ann")
    views = [stale, *store.history("ethanol")]

    def decide(head: ChannelEntry | None) -> ChannelEntry:
        view = views.pop(0) if len(views) > 1 else head
        return channel.draft(
            view, name="ethanol", alias="stable", action="promote", manifest=published[2], by="bob"
        )

    entry = channel.append(store.storage, "ethanol", "stable", decide)
    assert (entry.seq, entry.prev) == (4, published[0])
    assert [e.manifest for e in store.history("ethanol")] == [
        published[0], published[1], published[0], published[2],
    ]  # fmt: skip


def test_a_rollback_that_was_overtaken_by_the_same_rollback_is_done_once(
    store: Store, published: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.promote("ethanol", published[0], by="ann")
    store.promote("ethanol", published[1], by="ann")
    _before_next_create(store, monkeypatch, lambda: store.rollback("ethanol", by="bob"))
    assert store.rollback("ethanol", by="ann").by == "bob"
    assert [e.manifest for e in store.history("ethanol")] == [
        published[0],
        published[1],
        published[0],
    ]


def test_a_rollback_that_was_overtaken_by_a_promotion_is_refused(
    store: Store, published: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.promote("ethanol", published[0], by="ann")
    store.promote("ethanol", published[1], by="ann")
    _before_next_create(
        store, monkeypatch, lambda: store.promote("ethanol", published[2], by="bob")
    )
    with pytest.raises(ChannelMoved, match=f"moved it to {published[2][7:23]}"):
        store.rollback("ethanol", by="ann")
    assert store.resolve("ethanol") == published[2]


def test_a_request_repeated_after_its_reply_was_lost_is_recognised(
    store: Store, published: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    create = type(store.storage).create
    replies = iter([True])

    def lose_reply(storage: ObstoreStorage, key: str, data: bytes) -> bool:
        created = create(storage, key, data)
        if created and next(replies, False):
            store.promote("ethanol", published[1], by="bob")
            return create(storage, key, data)
        return created

    monkeypatch.setattr(type(store.storage), "create", lose_reply)
    entry = store.promote("ethanol", published[0], by="ann")
    assert (entry.seq, entry.by) == (1, "ann")
    assert [e.by for e in store.history("ethanol")] == ["ann", "bob"]


def test_a_race_lost_every_time_ends_with_an_error(
    store: Store, published: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = store.promote("ethanol", published[0], by="ann")
    monkeypatch.setattr(channel, "_LONGEST_PAUSE_S", 0.0)
    monkeypatch.setattr(channel, "_FIRST_PAUSE_S", 0.0)
    with pytest.raises(ChannelContention, match="lost against other writers"):
        channel.append(
            store.storage, "ethanol", "stable",
            lambda head: entry.model_copy(update={"nonce": "0" * 32}),
        )  # fmt: skip


def test_a_version_of_another_bank_cannot_be_promoted(store: Store, published: list[str]) -> None:
    other = publish_sample_set(store, "benzene")
    with pytest.raises(UnknownVersion):
        store.promote("ethanol", other, by="ann")


def test_a_version_whose_blobs_are_gone_cannot_be_promoted(local: Store) -> None:
    from pathlib import Path

    digest = publish_sample_set(local)
    sample = local.manifest(digest).samples[0]
    Path(local.url, "blobs", "sha256", sample.sha256).unlink()
    with pytest.raises(MissingObject, match=sample.sha256):
        local.promote("ethanol", digest, by="ann")


def test_who_moves_an_alias_must_be_named(store: Store, published: list[str]) -> None:
    with pytest.raises(InvalidName, match="who moves an alias"):
        store.promote("ethanol", published[0], by="")


def test_a_changed_entry_is_found_by_its_checksum(store: Store, published: list[str]) -> None:
    store.promote("ethanol", published[0], by="ann")
    key = entry_key(1)
    data = store.storage.read(key).replace(published[0].encode(), published[1].encode())
    store.storage.overwrite(key, data)
    for read in (
        lambda: store.resolve("ethanol"),
        lambda: store.history("ethanol"),
        store.heads,
    ):
        with pytest.raises(CorruptObject, match="checksum") as caught:
            read()
        assert caught.value.key == key


def test_an_entry_of_another_channel_is_alien(store: Store, published: list[str]) -> None:
    store.promote("ethanol", published[0], by="ann")
    store.storage.create(entry_key(2), store.storage.read(entry_key(1)))
    with pytest.raises(AlienObject, match=r"expected entry 2 .* got entry 1"):
        store.resolve("ethanol")


def test_a_gap_in_a_channel_is_named(store: Store, published: list[str]) -> None:
    entry = store.promote("ethanol", published[0], by="ann")
    third = entry.model_copy(update={"seq": 3})
    store.storage.create(entry_key(3), channel.entry_bytes(third))
    with pytest.raises(MissingObject) as caught:
        store.history("ethanol")
    assert caught.value.key == entry_key(2)


def test_the_watcher_reads_an_entry_once(
    store: Store, published: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.promote("ethanol", published[0], by="ann")
    heads = store.heads()
    reads: list[str] = []
    monkeypatch.setattr(type(store.storage), "read", lambda _, key: reads.append(key))
    assert store.heads() == heads
    assert reads == []


def test_a_damaged_channel_of_one_bank_does_not_hide_another(
    store: Store, published: list[str]
) -> None:
    store.promote("ethanol", published[0], by="ann")
    other = publish_sample_set(store, "benzene")
    store.promote("benzene", other, by="ann")
    store.storage.overwrite(entry_key(1), b"{}")
    assert store.heads("benzene") == {("benzene", "stable"): (1, other)}


def _before_next_create(store: Store, patch: pytest.MonkeyPatch, rival: object) -> None:
    """Let a rival act after the alias was looked at and before the entry is created."""
    assert callable(rival)
    kind = type(store.storage)
    create = kind.create
    pending = [rival]

    def overtaken(storage: ObstoreStorage, key: str, data: bytes) -> bool:
        if pending:
            pending.pop()()
        return create(storage, key, data)

    patch.setattr(kind, "create", overtaken)
