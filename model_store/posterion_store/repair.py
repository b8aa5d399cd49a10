"""How damaged objects are healed from another store that has them whole.

Creating refuses a key that is taken, so publishing again heals nothing. A blob or manifest
is copied if the copy has the digest its name demands, and only after the stored bytes were
read again and found wrong. A channel entry has no digest to be held against; it is copied
if its checksum is right and it fits between its neighbours here.
"""

from dataclasses import replace

from posterion_store.channel import ChannelEntry, parse_entry, read_entry
from posterion_store.errors import DamagedObject, MissingObject
from posterion_store.layout import ChannelKey, content_digest, parse_channel_key
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
        sound = _fits(storage, place, offered) and not _sound_entry(storage, place)
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


def _sound_entry(storage: ObjectStorage, place: ChannelKey) -> ChannelEntry | None:
    try:
        return read_entry(storage, place)
    except DamagedObject:
        return None


def _fits(storage: ObjectStorage, place: ChannelKey, offered: bytes) -> bool:
    """Tell whether an entry of the source is the one missing between its neighbours."""
    try:
        entry = parse_entry(offered, where="", key="")
    except DamagedObject:
        return False
    if ChannelKey(name=entry.name, alias=entry.alias, seq=entry.seq) != place:
        return False
    before = _sound_entry(storage, replace(place, seq=place.seq - 1)) if place.seq > 1 else None
    after = _sound_entry(storage, replace(place, seq=place.seq + 1))
    follows = entry.prev == before.manifest if before else place.seq == 1 and entry.prev is None
    return follows and (after is None or after.prev == entry.manifest)
