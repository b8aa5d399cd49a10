"""How bytes named by their own digest are written once and never believed unread."""

from posterion_store.errors import CorruptObject, TruncatedObject
from posterion_store.layout import blob_key
from posterion_store.manifest import BlobRef
from posterion_store.names import sha256_hex
from posterion_store.object_storage import ObjectStorage


def put_blob(storage: ObjectStorage, data: bytes) -> BlobRef:
    """Write bytes, durably, unless the store has them.

    Returns:
        The name under which they can be read back.

    Raises:
        TruncatedObject: If the store has them, but shortened.
        CorruptObject: If the store has them, but changed; writing again does not heal them.
    """
    ref = BlobRef(sha256=sha256_hex(data), size=len(data))
    if not storage.create(blob_key(ref.sha256), data):
        read_blob(storage, ref)
    return ref


def read_blob(storage: ObjectStorage, ref: BlobRef) -> bytes:
    """Read bytes and check that they are those that were written.

    Raises:
        MissingObject: If there is no such blob.
        TruncatedObject: If it is shorter than was published.
        CorruptObject: If it is longer, or any bit differs.
    """
    key = blob_key(ref.sha256)
    data = storage.read(key)
    _check_size(storage, ref, len(data))
    found = sha256_hex(data)
    if found != ref.sha256:
        raise CorruptObject(
            f"{storage.locate(key)}: expected sha256 {ref.sha256}, got {found}", key=key
        )
    return data


def require_blobs(storage: ObjectStorage, refs: tuple[BlobRef, ...]) -> None:
    """Make sure that blobs are there in full length, without reading them.

    Raises:
        MissingObject: If one is missing.
        TruncatedObject: If one is shorter than it should be.
        CorruptObject: If one is longer than it should be.
    """
    for ref in refs:
        _check_size(storage, ref, storage.size(blob_key(ref.sha256)))


def _check_size(storage: ObjectStorage, ref: BlobRef, size: int) -> None:
    if size == ref.size:
        return
    key = blob_key(ref.sha256)
    kind = TruncatedObject if size < ref.size else CorruptObject
    raise kind(f"{storage.locate(key)}: expected {ref.size} bytes, got {size}", key=key)
