"""How a sample set becomes visible: blobs, then the manifest, then the entry in the index.

A reader finds a sample set through the index or a channel, so whatever moment a publisher
is killed at, nothing half written can be found; publishing again completes it.
"""

from posterion_store.blobs import require_blobs
from posterion_store.errors import CorruptObject
from posterion_store.layout import VersionKey, manifest_key, version_key
from posterion_store.manifest import Manifest, parse_manifest, to_bytes
from posterion_store.names import digest_of
from posterion_store.object_storage import ObjectStorage


def publish(storage: ObjectStorage, manifest: Manifest) -> str:
    """Write a manifest whose blobs are in the store; does not move any alias.

    Publishing the same manifest again changes nothing.

    Returns:
        The digest of the sample set.

    Raises:
        MissingObject: If a blob is not in the store.
        TruncatedObject: If a blob is shorter than the manifest says.
        CorruptObject: If a blob is longer, or the manifest is there but damaged.
    """
    require_blobs(storage, manifest.blobs)
    data = to_bytes(manifest)
    digest = digest_of(data)
    if not storage.create(manifest_key(digest), data):
        read_manifest(storage, digest)
    place = VersionKey(name=manifest.name, created_at=manifest.created_at, digest=digest)
    storage.create(version_key(place), b"")
    return digest


def read_manifest(storage: ObjectStorage, digest: str) -> Manifest:
    """Read a manifest and check that it is the one its name promises.

    Raises:
        MissingObject: If it is not in the store.
        CorruptObject: If any bit differs.
        InvalidManifest: If its bytes are as published but are not a manifest.
        UnsupportedFormat: If a newer release wrote it.
    """
    key = manifest_key(digest)
    data = storage.read(key)
    found = digest_of(data)
    if found != digest:
        raise CorruptObject(
            f"{storage.locate(key)}: expected {digest}, got {found} ({len(data)} bytes)", key=key
        )
    return parse_manifest(data, where=storage.locate(key))
