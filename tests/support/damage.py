"""Ways in which a stored file goes bad."""

from collections.abc import Callable
from pathlib import Path

from posterion_store import CorruptObject, DamagedObject, MissingObject, Store, TruncatedObject

Damage = Callable[[Path], object]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def remove(path: Path) -> None:
    path.unlink()


# What is done to a blob, what reading it then raises, and what the message says.
BLOB_DAMAGE: list[tuple[Damage, type[DamagedObject], str]] = [
    (flip, CorruptObject, "expected sha256 {hex}, got "),
    (truncate, TruncatedObject, "expected {size} bytes, got {less}"),
    (empty, TruncatedObject, "expected {size} bytes, got 0"),
    (lengthen, CorruptObject, "expected {size} bytes, got {more}"),
    (remove, MissingObject, "expected an object, found none"),
]


def path_of(store: Store, key: str) -> Path:
    return Path(store.url, key)
