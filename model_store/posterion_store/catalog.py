"""What a store holds: names, versions, aliases, and which version a text means."""

from dataclasses import dataclass

from posterion_store.channel import list_entries, read_head
from posterion_store.errors import AmbiguousVersion, InvalidName, UnknownBank, UnknownVersion
from posterion_store.layout import VERSIONS, channels_prefix, parse_version_key, versions_prefix
from posterion_store.names import (
    DEFAULT_ALIAS,
    MIN_PREFIX_LENGTH,
    check_name,
    is_alias,
    is_digest,
    is_hex_prefix,
    version_of,
)
from posterion_store.object_storage import ObjectStorage


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionEntry:
    """One published version of a bank.

    Attributes:
        version: First 16 digits of the digest.
        digest: ``sha256:`` and 64 digits.
        created_at: When the sample set was made, ISO 8601 in UTC.
    """

    version: str
    digest: str
    created_at: str


def names(storage: ObjectStorage) -> list[str]:
    """Names of all banks, sorted; one listing."""
    keys = (parse_version_key(item.key) for item in storage.objects(VERSIONS))
    return sorted({place.name for place in keys if place is not None})


def versions(storage: ObjectStorage, name: str) -> list[VersionEntry]:
    """All versions of a bank, the oldest first; one listing.

    Raises:
        UnknownBank: If nothing was published under the name.
    """
    keys = (parse_version_key(item.key) for item in storage.objects(versions_prefix(name)))
    found = [
        VersionEntry(
            version=version_of(place.digest), digest=place.digest, created_at=place.created_at
        )
        for place in keys
        if place is not None
    ]
    if not found:
        known = ", ".join(names(storage)) or "none"
        raise UnknownBank(f"{storage.url}: expected one of the banks ({known}), got {name!r}")
    return found


def aliases(storage: ObjectStorage, name: str) -> dict[str, str]:
    """Alias to digest, for every alias of a bank; one listing and one read per alias."""
    found = {place.alias for place in list_entries(storage, channels_prefix(name))}
    heads = {alias: read_head(storage, name, alias) for alias in sorted(found)}
    return {alias: head.manifest for alias, head in heads.items() if head is not None}


def resolve(storage: ObjectStorage, name: str, version: str | None = None) -> str:
    """Find the digest that a version, an alias or nothing at all means.

    Args:
        storage: Where to look.
        name: Name of the bank.
        version: An alias, at least 8 leading digits, or a full digest; None for ``stable``.

    Raises:
        UnknownBank: If nothing was published under the name.
        UnknownVersion: If the bank has no such alias or version.
        AmbiguousVersion: If several versions begin with the digits.
        InvalidName: If the text is none of these.
    """
    check_name(name)
    wanted = DEFAULT_ALIAS if version is None else version
    if is_alias(wanted):
        return _resolve_alias(storage, name, wanted)
    if not (is_digest(wanted) or is_hex_prefix(wanted)):
        raise InvalidName(
            f"a version is an alias, at least {MIN_PREFIX_LENGTH} hexadecimal digits, or "
            f"'sha256:' and 64 digits; got {wanted!r}"
        )
    return _resolve_digits(storage, name, wanted.removeprefix("sha256:"))


def _resolve_alias(storage: ObjectStorage, name: str, alias: str) -> str:
    head = read_head(storage, name, alias)
    if head is not None:
        return head.manifest
    versions(storage, name)  # an unknown bank is the better explanation
    known = ", ".join(aliases(storage, name)) or "none"
    raise UnknownVersion(
        f"{storage.url}: expected one of the aliases of {name} ({known}), got {alias!r}"
    )


def _resolve_digits(storage: ObjectStorage, name: str, digits: str) -> str:
    known = versions(storage, name)
    found = sorted({e.digest for e in known if e.digest.startswith(f"sha256:{digits}")})
    if len(found) > 1:
        raise AmbiguousVersion(
            f"{storage.url}: expected digits of one version of {name}, {digits!r} begins "
            f"{len(found)}: {', '.join(digest.removeprefix('sha256:') for digest in found)}"
        )
    if not found:
        raise UnknownVersion(
            f"{storage.url}: expected one of the versions of {name} "
            f"({', '.join(e.version for e in known)}), got {digits!r}"
        )
    return found[0]
