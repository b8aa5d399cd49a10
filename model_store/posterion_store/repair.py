"""How damaged objects are healed from another store that has them whole.

Creating refuses a key that is taken, so publishing again heals nothing. A blob or manifest
is copied if the copy has the digest its name demands, and only after the stored bytes were
read again and found wrong. A channel entry has no digest to be held against; it is copied
if its checksum is right and the entries before and after it, as far as they are sound here,
are the very same in the source. Entries carry nonces, so two logs that went different ways
never agree by chance; the last entry of a log has nothing after it to prove it, and is
taken on the word of whoever named the source.
"""

from dataclasses import replace

from posterion_store.channel import read_entry
from posterion_store.errors import DamagedObject, MissingObject
from posterion_store.layout import ChannelKey, channel_key, content_digest, parse_channel_key
from posterion_store.names import digest_of
from posterion_store.object_storage import ObjectStorage
from posterion_store.verify import Finding, Report, verify

_MAX_ROUNDS = 4


def verify_and_repair(
    storage: ObjectStorage, source: ObjectStorage, name: str | None = None
) -> Report:
    """Verify a store, heal what the source has whole, and verify again.

    A healed manifest may reveal damaged blobs, so this repeats until nothing can be healed.

    Returns:
        What is still wrong, and what was healed.
    """
    repaired: list[str] = []
    report = verify(storage, name)
    for _ in range(_MAX_ROUNDS):
        healed = [f.key for f in report.findings if not f.harmless and heal(storage, source, f)]
        if not healed:
            break
        repaired += healed
        report = verify(storage, name)
    return replace(report, repaired=tuple(dict.fromkeys(repaired)))


def heal(storage: ObjectStorage, source: ObjectStorage, finding: Finding) -> bool:
    """Heal one object; False if it is not damaged any more or the source cannot help."""
    stored = _read_if_present(storage, finding.key)
    offered = _read_if_present(source, finding.key)
    if offered is None or offered == stored:
        return False
    place = parse_channel_key(finding.key)
    if place is not None:
        sound = not _is_sound(storage, place) and _belongs_here(storage, source, place)
    else:
        digest = content_digest(finding.key)
        sound = digest is not None and digest_of(offered) == digest
        sound = sound and (stored is None or digest_of(stored) != digest)
    if sound:
        storage.overwrite(finding.key, offered)
    return sound


def _read_if_present(storage: ObjectStorage, key: str) -> bytes | None:
    try:
        return storage.read(key)
    except MissingObject:
        return None


def _is_sound(storage: ObjectStorage, place: ChannelKey) -> bool:
    try:
        read_entry(storage, place)
    except DamagedObject:
        return False
    return True


def _belongs_here(storage: ObjectStorage, source: ObjectStorage, place: ChannelKey) -> bool:
    """Tell whether the source's entry is the one that was here."""
    if not _is_sound(source, place):
        return False
    numbers = (place.seq - 1, place.seq + 1)
    neighbours = [replace(place, seq=seq) for seq in numbers if seq > 0]
    return all(
        storage.read(channel_key(near)) == _read_if_present(source, channel_key(near))
        for near in neighbours
        if _is_sound(storage, near)
    )
