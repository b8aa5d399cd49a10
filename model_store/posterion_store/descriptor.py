"""What says that a place is a store, and proves that its backend can hold one.

The descriptor ``store.json`` is the same in every store of a format version. Opening a
store for writing creates it; if it was there already, the backend has just proven that it
refuses to create an object twice. If it was not, it is created once more, and a backend
that accepts the second creation (there are S3 servers that ignore ``If-None-Match``) is
refused: on it, two writers would silently lose each other's promotions. The second
creation carries the same bytes, so the test leaves nothing behind and harms nothing.
"""

from posterion_store import canonical_json
from posterion_store.errors import (
    AlienObject,
    CorruptObject,
    InvalidManifest,
    MissingObject,
    StoreNotFound,
    UnsafeBackend,
)
from posterion_store.layout import DESCRIPTOR
from posterion_store.migrations import STORE_FORMAT, upgrade
from posterion_store.object_storage import ObjectStorage

_FORMAT = "posterion-store"
DESCRIPTION = canonical_json.encode({"format": _FORMAT, "format_version": STORE_FORMAT.current})


def prepare(storage: ObjectStorage) -> None:
    """Make a place a store, unless it is one, and test its backend.

    Raises:
        UnsafeBackend: If the backend overwrites what it was asked only to create, or does
            not return what was written.
    """
    if not storage.create(DESCRIPTOR, DESCRIPTION):
        return
    if storage.create(DESCRIPTOR, DESCRIPTION):
        raise UnsafeBackend(
            f"{storage.locate(DESCRIPTOR)}: created twice; the backend must refuse to create an "
            "object that exists (If-None-Match: * on S3), this one overwrites it and would lose "
            "versions",
            key=DESCRIPTOR,
        )
    stored = storage.read(DESCRIPTOR)
    if stored != DESCRIPTION:
        raise UnsafeBackend(
            f"{storage.locate(DESCRIPTOR)}: expected the {len(DESCRIPTION)} bytes just written, "
            f"got {len(stored)} others",
            key=DESCRIPTOR,
        )


def check(storage: ObjectStorage) -> None:
    """Make sure that a place holds a store this release can read.

    Raises:
        StoreNotFound: If it has no descriptor.
        CorruptObject: If the descriptor is damaged.
        AlienObject: If it describes something else.
        UnsupportedFormat: If a newer release wrote it.
    """
    where = storage.locate(DESCRIPTOR)
    try:
        document = canonical_json.decode(storage.read(DESCRIPTOR))
    except MissingObject as error:
        raise StoreNotFound(
            f"{storage.url}: expected a store, found no {DESCRIPTOR}", key=DESCRIPTOR
        ) from error
    except ValueError as error:
        raise CorruptObject(
            f"{where}: expected the description of a store, got no JSON object ({error}); "
            "delete it and open the store for writing to have it written again",
            key=DESCRIPTOR,
        ) from error
    if document.get("format") != _FORMAT:
        raise AlienObject(
            f"{where}: expected format {_FORMAT!r}, got {document.get('format')!r}",
            key=DESCRIPTOR,
        )
    try:
        upgrade(document, STORE_FORMAT, where=where)
    except InvalidManifest as error:
        raise CorruptObject(error.detail, key=DESCRIPTOR) from error
