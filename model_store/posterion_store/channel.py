"""The append-only log behind an alias.

Entry number ``n + 1`` is written by creating its key, which only one writer can do; the
entry with the greatest number is the head. No entry is ever changed, so the history is
complete, going back is one more entry, and a reader that saw the alias move away and back
can tell (the sequence number differs although the digest does not).
"""

import random
import secrets
import time
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from posterion_store import canonical_json
from posterion_store.errors import (
    AlienObject,
    ChannelContention,
    CorruptObject,
    InvalidManifest,
    MissingObject,
)
from posterion_store.layout import ChannelKey, channel_key, channels_prefix, parse_channel_key
from posterion_store.migrations import CHANNEL_FORMAT, Document, upgrade
from posterion_store.names import Alias, BankName, Digest, UtcTimestamp, digest_of, utc_now
from posterion_store.object_storage import ObjectStorage

_MAX_ATTEMPTS = 60
_FIRST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 0.25


class ChannelEntry(BaseModel):
    """One move of an alias.

    Attributes:
        format_version: Version of this format.
        name: Name of the bank.
        alias: The alias.
        seq: Number of the entry, from 1 without gaps.
        action: Whether it was a promotion or a rollback.
        manifest: Digest the alias points to from here on.
        prev: Digest it pointed to before; None for the first entry.
        by: Who moved it.
        at: When, ISO 8601 in UTC.
        nonce: Random; tells a writer whether an entry is its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    name: BankName
    alias: Alias
    seq: Annotated[int, Field(ge=1)]
    action: Literal["promote", "rollback"]
    manifest: Digest
    prev: Digest | None
    by: Annotated[str, Field(min_length=1, max_length=200)]
    at: UtcTimestamp
    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


Decide = Callable[[ChannelEntry | None], ChannelEntry]


def draft(  # one argument per field that has no value of its own
    head: ChannelEntry | None,
    *,
    name: str,
    alias: str,
    action: Literal["promote", "rollback"],
    manifest: str,
    by: str,
) -> ChannelEntry:
    """Draw up the entry that would follow a head."""
    return ChannelEntry(
        name=name,
        alias=alias,
        seq=1 if head is None else head.seq + 1,
        action=action,
        manifest=manifest,
        prev=None if head is None else head.manifest,
        by=by,
        at=utc_now(),
        nonce=secrets.token_hex(16),
    )


def append(storage: ObjectStorage, name: str, alias: str, decide: Decide) -> ChannelEntry:
    """Add an entry after the head, deciding anew whenever another writer was faster.

    Args:
        storage: Where the channel lies.
        name: Name of the bank.
        alias: The alias.
        decide: Draws up the entry that follows a head, or returns the head if the alias
            already is where it should be.

    Returns:
        The entry written, or the head that made writing needless.

    Raises:
        ChannelContention: If every attempt lost its race.
    """
    pause_s = _FIRST_PAUSE_S
    for _ in range(_MAX_ATTEMPTS):
        head = read_head(storage, name, alias)
        entry = decide(head)
        if entry == head or _write(storage, entry):
            return entry
        time.sleep(random.uniform(0, pause_s))  # noqa: S311 - spreads writers, keeps no secret
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
    raise ChannelContention(
        f"{storage.locate(channels_prefix(name, alias))}: {_MAX_ATTEMPTS} attempts to move the "
        "alias lost against other writers; try again"
    )


def read_head(storage: ObjectStorage, name: str, alias: str) -> ChannelEntry | None:
    """Read the last entry of a channel; None if the alias was never set."""
    places = list_entries(storage, channels_prefix(name, alias))
    return read_entry(storage, places[-1]) if places else None


def read_history(storage: ObjectStorage, name: str, alias: str) -> list[ChannelEntry]:
    """Read all entries of a channel, the oldest first.

    Raises:
        MissingObject: If an entry is missing between others.
    """
    places = list_entries(storage, channels_prefix(name, alias))
    for expected, place in enumerate(places, start=1):
        if place.seq != expected:
            key = channel_key(ChannelKey(name=name, alias=alias, seq=expected))
            raise MissingObject(
                f"{storage.locate(key)}: expected entry {expected} of the channel, found entry "
                f"{place.seq} next",
                key=key,
            )
    return [read_entry(storage, place) for place in places]


def list_entries(storage: ObjectStorage, prefix: str) -> list[ChannelKey]:
    """List the places of channel entries under a folder, by channel and number."""
    keys = (parse_channel_key(item.key) for item in storage.objects(prefix))
    return [place for place in keys if place is not None]


def read_entry(storage: ObjectStorage, place: ChannelKey) -> ChannelEntry:
    """Read one entry and check it.

    Raises:
        MissingObject: If it is not there.
        CorruptObject: If it is damaged.
        AlienObject: If it belongs to another place.
        UnsupportedFormat: If a newer release wrote it.
    """
    key = channel_key(place)
    entry = parse_entry(storage.read(key), where=storage.locate(key), key=key)
    found = ChannelKey(name=entry.name, alias=entry.alias, seq=entry.seq)
    if found != place:
        raise AlienObject(
            f"{storage.locate(key)}: expected entry {place.seq} of {place.name}@{place.alias}, "
            f"got entry {found.seq} of {found.name}@{found.alias}",
            key=key,
        )
    return entry


def parse_entry(data: bytes, *, where: str, key: str) -> ChannelEntry:
    """Read an entry from its bytes.

    Raises:
        CorruptObject: If it is not an entry, or its checksum is wrong.
        UnsupportedFormat: If a newer release wrote it.
    """
    try:
        document = canonical_json.decode(data)
        checksum = document.pop("checksum", None)
        found = digest_of(canonical_json.encode(document))
        if checksum != found:
            raise CorruptObject(f"{where}: expected checksum {checksum}, got {found}", key=key)
        return ChannelEntry.model_validate(upgrade(document, CHANNEL_FORMAT, where=where))
    except (ValidationError, InvalidManifest, ValueError) as error:
        raise CorruptObject(
            f"{where}: expected a channel entry, got {len(data)} bytes that are none ({error})",
            key=key,
        ) from error


def entry_bytes(entry: ChannelEntry) -> bytes:
    """Write an entry with its checksum in canonical form."""
    document: Document = entry.model_dump(mode="json")
    return canonical_json.encode(
        {**document, "checksum": digest_of(canonical_json.encode(document))}
    )


def _write(storage: ObjectStorage, entry: ChannelEntry) -> bool:
    place = ChannelKey(name=entry.name, alias=entry.alias, seq=entry.seq)
    if storage.create(channel_key(place), entry_bytes(entry)):
        return True
    # A request that was repeated after its reply got lost finds its own entry.
    return read_entry(storage, place).nonce == entry.nonce
