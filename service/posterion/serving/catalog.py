"""What the store offers, as of the last look: aliases, versions and their manifests.

Requests are answered from this snapshot, so none of them reads the store.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from posterion.errors import UnknownModel
from posterion_store import Manifest, StoreError
from posterion_store.catalog import VersionEntry
from posterion_store.names import MIN_PREFIX_LENGTH
from posterion_store.watch import Heads

DIGEST_PREFIX = "sha256:"

logger = logging.getLogger(__name__)


class VersionSource(Protocol):
    """The part of a store that the catalog is read from."""

    def names(self) -> list[str]:
        """Names of all banks."""
        ...

    def heads(self, name: str | None = None) -> Heads:
        """Where every alias points, of one bank or all."""
        ...

    def versions(self, name: str) -> list[VersionEntry]:
        """Published versions of a bank, the oldest first."""
        ...

    def manifest(self, digest: str) -> Manifest:
        """Description of a version."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BankListing:
    """What is known of one bank.

    Attributes:
        name: Its name.
        aliases: Alias to digest.
        versions: Published versions, the newest first.
        manifests: Digest to manifest, of every version whose manifest can be read.
    """

    name: str
    aliases: Mapping[str, str]
    versions: tuple[VersionEntry, ...]
    manifests: Mapping[str, Manifest]

    def find(self, version: str) -> str:
        """Digest that an alias, at least eight hex digits, or a digest means.

        Raises:
            UnknownModel: If it means none, or more than one.
        """
        if version in self.aliases:
            return self.aliases[version]
        digits = version.removeprefix(DIGEST_PREFIX)
        found = {
            each.digest
            for each in self.versions
            if each.digest.startswith(DIGEST_PREFIX + digits) and len(digits) >= MIN_PREFIX_LENGTH
        }
        if len(found) == 1:
            return found.pop()
        if found:
            raise UnknownModel(f"{self.name} has {len(found)} versions that begin with {version}")
        raise UnknownModel(f"{self.name} has no version or alias {version!r}")

    def manifest(self, digest: str) -> Manifest:
        """Description of one of the versions.

        Raises:
            UnknownModel: If it cannot be read.
        """
        if digest not in self.manifests:
            raise UnknownModel(f"version {digest} of {self.name} cannot be described")
        return self.manifests[digest]

    def aliases_of(self, digest: str) -> tuple[str, ...]:
        """Aliases that point to a version."""
        return tuple(sorted(alias for alias, to in self.aliases.items() if to == digest))


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """What is known of every bank.

    Attributes:
        banks: Name to listing.
        faults: Name to reason, of every bank whose listing is older than the last look.
    """

    banks: Mapping[str, BankListing] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)

    def bank(self, name: str) -> BankListing:
        """Listing of a bank.

        Raises:
            UnknownModel: If there is none of that name.
        """
        if name not in self.banks:
            known = ", ".join(sorted(self.banks)) or "none"
            raise UnknownModel(f"there is no model {name!r}; the models are: {known}")
        return self.banks[name]


def read_catalog(source: VersionSource, previous: Catalog, wanted: frozenset[str]) -> Catalog:
    """Look at the store again; what cannot be read any more stays as it was.

    Args:
        source: The store.
        previous: The last snapshot; manifests never change, so they are read once.
        wanted: Names of the banks to list; empty lists all.

    Returns:
        The new snapshot.

    Raises:
        StoreError: If the banks cannot be listed.
    """
    banks = dict(previous.banks)
    faults: dict[str, str] = {}
    found = wanted or frozenset(source.names())
    for name in sorted(found):
        try:
            banks[name] = _list_bank(source, name, previous.banks.get(name))
        except StoreError as error:
            faults[name] = str(error)
    for name in previous.banks.keys() - found:
        faults[name] = "the bank is no longer in the store"
    return Catalog(banks=banks, faults=faults)


def _list_bank(source: VersionSource, name: str, previous: BankListing | None) -> BankListing:
    versions = tuple(reversed(source.versions(name)))
    aliases = {alias: digest for (_, alias), (_, digest) in source.heads(name).items()}
    known = {} if previous is None else previous.manifests
    manifests = {}
    for version in versions:
        manifest = known.get(version.digest) or _read_manifest(source, name, version.digest)
        if manifest is not None:
            manifests[version.digest] = manifest
    return BankListing(name=name, aliases=aliases, versions=versions, manifests=manifests)


def _read_manifest(source: VersionSource, name: str, digest: str) -> Manifest | None:
    try:
        return source.manifest(digest)
    except StoreError as error:
        logger.warning("version %s of %s is not listed: %s", digest, name, error)
        return None
