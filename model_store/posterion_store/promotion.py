"""How an alias is moved: forward by promotion, back by rollback."""

from posterion_store.blobs import require_blobs
from posterion_store.catalog import resolve
from posterion_store.channel import ChannelEntry, append, draft, read_history
from posterion_store.errors import AlienObject, ChannelMoved, InvalidName, NothingToRollBack
from posterion_store.layout import manifest_key
from posterion_store.names import check_alias, version_of
from posterion_store.object_storage import ObjectStorage
from posterion_store.publish import read_manifest


def promote(
    storage: ObjectStorage, name: str, version: str, *, alias: str, by: str
) -> ChannelEntry:
    """Point an alias to a published version whose blobs are all there.

    If the alias points there already, nothing is written.

    Returns:
        The entry that points the alias there.

    Raises:
        UnknownVersion: If the bank has no such version.
        MissingObject: If a blob of the version is missing.
    """
    check_alias(alias)
    _check_by(by)
    digest = resolve(storage, name, version)
    manifest = read_manifest(storage, digest)
    if manifest.name != name:
        key = manifest_key(digest)
        raise AlienObject(
            f"{storage.locate(key)}: expected a manifest of {name}, got one of {manifest.name}",
            key=key,
        )
    require_blobs(storage, manifest.blobs)

    def follow(head: ChannelEntry | None) -> ChannelEntry:
        if head is not None and head.manifest == digest:
            return head
        return draft(head, name=name, alias=alias, action="promote", manifest=digest, by=by)

    return append(storage, name, alias, follow)


def rollback(
    storage: ObjectStorage, name: str, *, alias: str, by: str, to: str | None = None
) -> ChannelEntry:
    """Point an alias back to where it pointed before.

    Without ``to``, each rollback undoes one promotion that is still in force: after A, B and
    C were promoted, one rollback leads to B and a second to A. Two operators who roll back
    the same version at the same time undo it once.

    Args:
        storage: Where the channel lies.
        name: Name of the bank.
        alias: The alias.
        by: Who moves it.
        to: Version to go back to; the alias must have pointed to it.

    Returns:
        The entry that points the alias there.

    Raises:
        NothingToRollBack: If there is no earlier version, or ``to`` is not one.
        ChannelMoved: If somebody moved the alias elsewhere meanwhile.
    """
    check_alias(alias)
    _check_by(by)
    entries = read_history(storage, name, alias)
    target = _rollback_target(storage, name, alias, entries, to)
    require_blobs(storage, read_manifest(storage, target).blobs)
    left = entries[-1].manifest

    def follow(head: ChannelEntry | None) -> ChannelEntry:
        if head is not None and head.manifest == target:
            return head
        if to is None and (head is None or head.manifest != left):
            now = "nothing" if head is None else version_of(head.manifest)
            raise ChannelMoved(
                f"{name}@{alias}: expected it at {version_of(left)}, somebody moved it to {now} "
                "meanwhile; look again before rolling back"
            )
        return draft(head, name=name, alias=alias, action="rollback", manifest=target, by=by)

    return append(storage, name, alias, follow)


def in_force(entries: list[ChannelEntry]) -> list[str]:
    """Digests of the promotions that were not undone, the current one last."""
    stack: list[str] = []
    for entry in entries:
        if entry.action == "rollback":
            while stack and stack[-1] != entry.manifest:
                stack.pop()
        if not stack or stack[-1] != entry.manifest:
            stack.append(entry.manifest)
    return stack


def _rollback_target(
    storage: ObjectStorage, name: str, alias: str, entries: list[ChannelEntry], to: str | None
) -> str:
    if to is not None:
        target = resolve(storage, name, to)
        if all(entry.manifest != target for entry in entries):
            raise NothingToRollBack(
                f"{name}@{alias} never pointed to {version_of(target)}; promote it instead"
            )
        return target
    stack = in_force(entries)
    if len(stack) < 2:
        now = version_of(stack[-1]) if stack else "nothing"
        raise NothingToRollBack(f"{name}@{alias} points to {now} and has nothing before it")
    return stack[-2]


def _check_by(by: str) -> None:
    if not 1 <= len(by) <= 200:
        raise InvalidName(f"who moves an alias is named in 1 to 200 characters; got {len(by)}")
