"""Which deliberate errors the store raises, and which stable code each one carries.

StoreError
├── InvalidInput           what the caller gave is wrong
│   ├── InvalidName            invalid-name
│   ├── InvalidManifest        invalid-manifest
│   └── UnsupportedUrl         unsupported-store-url
├── NotFound               what the caller asked for is not there
│   ├── StoreNotFound          store-not-found
│   ├── UnknownBank            unknown-bank
│   ├── UnknownVersion         unknown-version
│   └── AmbiguousVersion       ambiguous-version
├── DamagedObject          one object of the store is not what its name promises
│   ├── MissingObject          missing-object
│   ├── TruncatedObject        truncated-object
│   ├── CorruptObject          corrupt-object
│   ├── AlienObject            alien-object
│   └── UnsupportedFormat      unsupported-format
├── ChannelError           an alias could not be moved
│   ├── ChannelMoved           channel-moved
│   ├── ChannelContention      channel-contention
│   └── NothingToRollBack      nothing-to-roll-back
└── BackendError           the storage behind the store refuses or fails
    ├── StoreUnreachable       store-unreachable
    ├── StoreReadOnly          read-only-store
    └── UnsafeBackend          unsafe-backend
"""

from typing import ClassVar


class StoreError(Exception):
    """Base of every deliberate error of the store.

    Attributes:
        code: Stable machine-readable name.
        detail: What happened: the object, what was expected and what came.
        key: Key of the object concerned, relative to the store, if there is one.
    """

    code: ClassVar[str] = "store-error"

    def __init__(self, detail: str, *, key: str | None = None) -> None:
        """Keep the sentence and the object it is about."""
        super().__init__(detail)
        self.detail = detail
        self.key = key

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild with the keyword-only key when the error crosses a process."""
        return (_rebuild, (type(self), self.detail, self.key))


def _rebuild(kind: type[StoreError], detail: str, key: str | None) -> StoreError:
    return kind(detail, key=key)


class InvalidInput(StoreError):
    """What the caller gave is wrong."""

    code = "invalid-input"


class InvalidName(InvalidInput):
    """A bank name, alias, version or file name is not of the allowed form."""

    code = "invalid-name"


class InvalidManifest(InvalidInput):
    """A document is not a manifest of this format."""

    code = "invalid-manifest"


class UnsupportedUrl(InvalidInput):
    """The store URL has a scheme or form the store does not serve."""

    code = "unsupported-store-url"


class NotFound(StoreError):
    """What the caller asked for is not there."""

    code = "not-found"


class StoreNotFound(NotFound):
    """The URL does not hold a store."""

    code = "store-not-found"


class UnknownBank(NotFound):
    """No sample set of that name was ever published."""

    code = "unknown-bank"


class UnknownVersion(NotFound):
    """The bank has no such version or alias."""

    code = "unknown-version"


class AmbiguousVersion(NotFound):
    """Several versions begin with the given digits."""

    code = "ambiguous-version"


class DamagedObject(StoreError):
    """One object of the store is not what its name promises."""

    code = "damaged-object"


class MissingObject(DamagedObject):
    """An object that others refer to is not there."""

    code = "missing-object"


class TruncatedObject(DamagedObject):
    """An object is shorter than was published."""

    code = "truncated-object"


class CorruptObject(DamagedObject):
    """The bytes of an object do not have the digest they were published under."""

    code = "corrupt-object"


class AlienObject(DamagedObject):
    """An object is sound but does not belong where it lies."""

    code = "alien-object"


class UnsupportedFormat(DamagedObject):
    """An object was written in a format version this release does not know."""

    code = "unsupported-format"


class ChannelError(StoreError):
    """An alias could not be moved."""

    code = "channel-error"


class ChannelMoved(ChannelError):
    """Somebody moved the alias while it was being rolled back."""

    code = "channel-moved"


class ChannelContention(ChannelError):
    """Every attempt to move the alias lost its race."""

    code = "channel-contention"


class NothingToRollBack(ChannelError):
    """The alias never pointed to the version asked for."""

    code = "nothing-to-roll-back"


class BackendError(StoreError):
    """The storage behind the store refuses or fails."""

    code = "backend-error"


class StoreUnreachable(BackendError):
    """The storage did not answer, or answered with an error."""

    code = "store-unreachable"


class StoreReadOnly(BackendError):
    """Something was to be written to a store that cannot be written."""

    code = "read-only-store"


class UnsafeBackend(BackendError):
    """The storage overwrites objects it was asked only to create."""

    code = "unsafe-backend"
