"""How bytes get into and out of the storage behind a store.

The store needs four things of its storage: create an object only if it is absent, read it,
list keys, and (for repairs alone) replace an object. Only the first has to be atomic.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import ObjectStore

from posterion_store.errors import MissingObject, StoreReadOnly, StoreUnreachable


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """One line of a listing.

    Attributes:
        key: Key relative to the store.
        size: Number of bytes.
    """

    key: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StagingFile:
    """A file that a writer has not yet given its final name.

    Attributes:
        key: Path relative to the store.
        age_s: Seconds since it was last written.
    """

    key: str
    age_s: float


class ObjectStorage(Protocol):
    """What a store needs of the storage behind it."""

    @property
    def url(self) -> str:
        """Where the storage is, for messages."""
        ...

    @property
    def read_only(self) -> bool:
        """Whether writing is refused here already."""
        ...

    def locate(self, key: str) -> str:
        """Full address of an object, for messages."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Write an object if its key is free, durably; False if it is taken."""
        ...

    def overwrite(self, key: str, data: bytes) -> None:
        """Replace an object, or write it if absent; for repairs alone."""
        ...

    def read(self, key: str) -> bytes:
        """Read an object; MissingObject if it is absent."""
        ...

    def size(self, key: str) -> int:
        """Number of bytes of an object; MissingObject if it is absent."""
        ...

    def objects(self, prefix: str = "") -> list[ObjectInfo]:
        """List the objects under a folder, sorted by key."""
        ...

    def staging_files(self) -> list[StagingFile]:
        """List files that a crash may have left half written."""
        ...


class ObstoreStorage:
    """Storage on anything obstore reaches: S3, memory, or (for reading) a directory."""

    def __init__(self, backend: ObjectStore, *, url: str, read_only: bool = False) -> None:
        """Wrap a backend.

        Args:
            backend: The obstore client, its prefix at the root of the store.
            url: Where it is, for messages; without credentials.
            read_only: Refuse every write.
        """
        self._backend = backend
        self._url = url.rstrip("/")
        self._read_only = read_only

    @property
    def url(self) -> str:
        """Where the storage is, for messages."""
        return self._url

    @property
    def read_only(self) -> bool:
        """Whether writing is refused here already."""
        return self._read_only

    def locate(self, key: str) -> str:
        """Full address of an object, for messages."""
        return f"{self._url}/{key}"

    def create(self, key: str, data: bytes) -> bool:
        """Write an object if its key is free; False if it is taken."""
        self.require_writable(key)
        with self.failures_named(key):
            try:
                obstore.put(self._backend, key, data, mode="create")
            except AlreadyExistsError:
                return False
        return True

    def overwrite(self, key: str, data: bytes) -> None:
        """Replace an object, or write it if absent; for repairs alone."""
        self.require_writable(key)
        with self.failures_named(key):
            obstore.put(self._backend, key, data, mode="overwrite")

    def read(self, key: str) -> bytes:
        """Read an object; MissingObject if it is absent."""
        with self.failures_named(key):
            return bytes(obstore.get(self._backend, key).bytes())

    def size(self, key: str) -> int:
        """Number of bytes of an object; MissingObject if it is absent."""
        with self.failures_named(key):
            return obstore.head(self._backend, key)["size"]

    def objects(self, prefix: str = "") -> list[ObjectInfo]:
        """List the objects under a folder, sorted by key."""
        with self.failures_named(prefix):
            found = [
                ObjectInfo(key=item["path"], size=item["size"])
                for chunk in obstore.list(self._backend, prefix=prefix.rstrip("/") or None)
                for item in chunk
            ]
        return sorted(found, key=lambda item: item.key)

    def staging_files(self) -> list[StagingFile]:
        """Nothing: a PUT is visible whole or not at all."""
        return []

    def require_writable(self, key: str) -> None:
        """Refuse a write to a store opened for reading.

        Raises:
            StoreReadOnly: Always, if the store was opened read-only.
        """
        if self._read_only:
            raise StoreReadOnly(
                f"{self.locate(key)}: not written, the store was opened read-only", key=key
            )

    @contextmanager
    def failures_named(self, key: str) -> Iterator[None]:
        """Turn what the backend raises into errors that name the object.

        Raises:
            MissingObject: If there is no such object.
            StoreReadOnly: If access is denied.
            StoreUnreachable: If the backend fails in any other way.
        """
        try:
            yield
        except (FileNotFoundError, NotFoundError) as error:
            raise MissingObject(
                f"{self.locate(key)}: expected an object, found none", key=key
            ) from error
        except (PermissionError, PermissionDeniedError, UnauthenticatedError) as error:
            raise StoreReadOnly(
                f"{self.locate(key)}: access denied: {first_line(error)}", key=key
            ) from error
        except (OSError, BaseError) as error:
            if isinstance(error, OSError) and error.errno == errno.EROFS:
                raise StoreReadOnly(f"{self.locate(key)}: {first_line(error)}", key=key) from error
            raise StoreUnreachable(f"{self.locate(key)}: {first_line(error)}", key=key) from error


def first_line(error: Exception) -> str:
    """Say an error in one line; obstore appends a page of debugging output."""
    return (str(error) or type(error).__name__).splitlines()[0]
