"""Where every object of a store lies.

    store.json                                says that this is a store; see descriptor.py
    blobs/sha256/<hex>                        bytes, named by their own digest
    manifests/<hex>.json                      one sample set, named by its own digest
    versions/<name>/<time>-<hex>              empty; the key itself lists a version of a bank
    channels/<name>/<alias>/<12 digits>.json  the log of an alias; the last entry is its head

Every object is created once and never changed.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from posterion_store.names import check_alias, check_name, hex_of, to_utc_timestamp

DESCRIPTOR = "store.json"
BLOBS = "blobs/"
MANIFESTS = "manifests/"
VERSIONS = "versions/"
CHANNELS = "channels/"

_STAMP = "%Y%m%dT%H%M%S%fZ"
_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_MANIFEST = re.compile(r"manifests/([0-9a-f]{64})\.json")
_VERSION = re.compile(r"versions/([a-z0-9][a-z0-9-]{0,62})/(\d{8}T\d{12}Z)-([0-9a-f]{64})")
_CHANNEL = re.compile(r"channels/([a-z0-9][a-z0-9-]{0,62})/([a-z][a-z0-9-]{0,31})/(\d{12})\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionKey:
    """What the key of a version marker says."""

    name: str
    created_at: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelKey:
    """What the key of a channel entry says."""

    name: str
    alias: str
    seq: int


def blob_key(sha256: str) -> str:
    """Key of the blob with these 64 digits."""
    return f"{BLOBS}sha256/{hex_of(f'sha256:{sha256}')}"


def manifest_key(digest: str) -> str:
    """Key of the manifest with this digest."""
    return f"{MANIFESTS}{hex_of(digest)}.json"


def versions_prefix(name: str) -> str:
    """Folder of the version markers of a bank."""
    return f"{VERSIONS}{check_name(name)}/"


def version_key(place: VersionKey) -> str:
    """Key of a version marker."""
    stamp = datetime.fromisoformat(place.created_at).strftime(_STAMP)
    return f"{versions_prefix(place.name)}{stamp}-{hex_of(place.digest)}"


def channels_prefix(name: str | None = None, alias: str | None = None) -> str:
    """Folder of all channels, of those of one bank, or of one alias."""
    if name is None:
        return CHANNELS
    folder = f"{CHANNELS}{check_name(name)}/"
    return folder if alias is None else f"{folder}{check_alias(alias)}/"


def channel_key(place: ChannelKey) -> str:
    """Key of a channel entry."""
    return f"{channels_prefix(place.name, place.alias)}{place.seq:012d}.json"


def content_digest(key: str) -> str | None:
    """Digest that the bytes of a blob or manifest must have; None for other keys."""
    match = _BLOB.fullmatch(key) or _MANIFEST.fullmatch(key)
    return f"sha256:{match[1]}" if match else None


def parse_version_key(key: str) -> VersionKey | None:
    """Read the key of a version marker; None if it is not one."""
    match = _VERSION.fullmatch(key)
    if match is None:
        return None
    try:
        time = datetime.strptime(match[2], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
    created_at = to_utc_timestamp(time.isoformat())
    return VersionKey(name=match[1], created_at=created_at, digest=f"sha256:{match[3]}")


def parse_channel_key(key: str) -> ChannelKey | None:
    """Read the key of a channel entry; None if it is not one."""
    match = _CHANNEL.fullmatch(key)
    if match is None or int(match[3]) < 1:
        return None
    return ChannelKey(name=match[1], alias=match[2], seq=int(match[3]))


def belongs(key: str) -> bool:
    """Tell whether a key has a place in the layout."""
    return (
        key == DESCRIPTOR
        or content_digest(key) is not None
        or parse_version_key(key) is not None
        or parse_channel_key(key) is not None
    )
