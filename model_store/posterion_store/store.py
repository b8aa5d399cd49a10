"""The store as its users see it: one object, one line per thing it can do."""

from pathlib import Path
from typing import Self

from posterion_store import blobs, catalog, channel, descriptor, promotion, publish, repair, verify
from posterion_store.location import open_storage
from posterion_store.manifest import BlobRef, Manifest
from posterion_store.names import DEFAULT_ALIAS, check_alias, check_name
from posterion_store.object_storage import ObjectStorage
from posterion_store.watch import Heads, Watcher


class Store:
    """Published sample sets: immutable, named by their digest, found by name and alias.

    Safe to use from several threads, processes and machines at once.
    """

    def __init__(self, storage: ObjectStorage) -> None:
        """Use a storage; most callers want :meth:`open`.

        Args:
            storage: Where the store lies. If it can be written it is made a store, and
                refused if it overwrites what it was asked only to create.

        Raises:
            UnsafeBackend: If the storage overwrites.
            StoreNotFound: If it is read-only and holds no store.
        """
        if not storage.read_only:
            descriptor.prepare(storage)
        descriptor.check(storage)
        self._storage = storage
        self._watcher = Watcher(storage)

    @classmethod
    def open(cls, url: str | Path, *, read_only: bool = False) -> Self:
        """Open the store at a path, ``file://``, ``s3://bucket/prefix`` or ``memory://``.

        Args:
            url: Where it is.
            read_only: Never write; needed for a store that cannot be written.

        Raises:
            StoreError: If there is no store to read, or none can be written there.
        """
        return cls(open_storage(url, read_only=read_only))

    @property
    def url(self) -> str:
        """Where the store is."""
        return self._storage.url

    @property
    def read_only(self) -> bool:
        """Whether it was opened for reading alone."""
        return self._storage.read_only

    @property
    def storage(self) -> ObjectStorage:
        """The storage behind the store."""
        return self._storage

    def put_blob(self, data: bytes) -> BlobRef:
        """Write bytes unless the store has them; on a directory, onto the disk."""
        return blobs.put_blob(self._storage, data)

    def read_blob(self, ref: BlobRef) -> bytes:
        """Read bytes, checked against their digest; errors name the object."""
        return blobs.read_blob(self._storage, ref)

    def publish(self, manifest: Manifest) -> str:
        """Publish a sample set whose blobs were put; returns its digest, moves no alias."""
        return publish.publish(self._storage, manifest)

    def manifest(self, digest: str) -> Manifest:
        """Read a manifest, checked against its digest."""
        return publish.read_manifest(self._storage, digest)

    def names(self) -> list[str]:
        """Names of all banks, sorted."""
        return catalog.names(self._storage)

    def versions(self, name: str) -> list[catalog.VersionEntry]:
        """All versions of a bank, the oldest first."""
        return catalog.versions(self._storage, name)

    def aliases(self, name: str) -> dict[str, str]:
        """Alias to digest, for every alias of a bank."""
        return catalog.aliases(self._storage, name)

    def resolve(self, name: str, version: str | None = None) -> str:
        """Find the digest of an alias, 8 or more digits, or a digest; None is ``stable``."""
        return catalog.resolve(self._storage, name, version)

    def history(self, name: str, alias: str = DEFAULT_ALIAS) -> list[channel.ChannelEntry]:
        """Every move of an alias, the oldest first; empty if it was never set."""
        return channel.read_history(self._storage, check_name(name), check_alias(alias))

    def heads(self, name: str | None = None) -> Heads:
        """(name, alias) to (seq, digest) of every alias, cheap enough to be polled."""
        return self._watcher.heads(name)

    def promote(
        self, name: str, digest: str, *, alias: str = DEFAULT_ALIAS, by: str
    ) -> channel.ChannelEntry:
        """Point an alias to a version; anything :meth:`resolve` takes names it."""
        return promotion.promote(self._storage, name, digest, alias=alias, by=by)

    def rollback(
        self, name: str, *, alias: str = DEFAULT_ALIAS, by: str, to: str | None = None
    ) -> channel.ChannelEntry:
        """Undo the last promotion of an alias that is in force, or go back to a version."""
        return promotion.rollback(self._storage, name, alias=alias, by=by, to=to)

    def verify(self, name: str | None = None, *, repair_from: Self | None = None) -> verify.Report:
        """Read everything, report damage, and heal it from another store if given."""
        if repair_from is None:
            return verify.verify(self._storage, name)
        return repair.verify_and_repair(self._storage, repair_from.storage, name)
