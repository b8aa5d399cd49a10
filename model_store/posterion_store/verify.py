"""Whether every object of a store is there, whole, and in its place.

Every blob and manifest is read and hashed, every channel entry is read, and every key is
checked against the layout. What a crash may leave (a blob or manifest nothing refers to, a
file without its final name) is reported, but is no damage.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from posterion_store.blobs import read_blob
from posterion_store.catalog import versions
from posterion_store.channel import read_entry
from posterion_store.errors import AlienObject, DamagedObject, InvalidManifest, MissingObject
from posterion_store.layout import (
    BLOBS,
    DESCRIPTOR,
    MANIFESTS,
    ChannelKey,
    belongs,
    blob_key,
    channel_key,
    content_digest,
    manifest_key,
    parse_channel_key,
    parse_version_key,
)
from posterion_store.manifest import BlobRef, Manifest
from posterion_store.object_storage import ObjectStorage
from posterion_store.publish import read_manifest

GRACE_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        code: Code of the error that reading the object would raise, or ``orphan-object`` or
            ``staging-file``.
        key: Key of the object.
        detail: What was expected and what was found.
        harmless: Whether no reader can be hurt by it.
    """

    code: str
    key: str
    detail: str
    harmless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of a verification.

    Attributes:
        url: The store.
        n_objects: Number of objects listed.
        n_manifests: Number of manifests read.
        n_blobs: Number of blobs read.
        findings: What is not as it should be, after any repair.
        repaired: Keys that were healed.
    """

    url: str
    n_objects: int
    n_manifests: int
    n_blobs: int
    findings: tuple[Finding, ...]
    repaired: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is no damage."""
        return all(finding.harmless for finding in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reference:
    """A manifest that something refers to.

    Attributes:
        key: Key of what refers to it.
        name: Bank the reference is for.
        digest: Digest of the manifest.
    """

    key: str
    name: str
    digest: str


def verify(storage: ObjectStorage, name: str | None = None, *, grace_s: float = GRACE_S) -> Report:
    """Read everything and report what is missing, truncated, changed or alien.

    Args:
        storage: The store.
        name: Verify only this bank; None for the whole store.
        grace_s: Age in seconds from which a file without its final name is reported.

    Raises:
        UnknownBank: If nothing was published under the name.
    """
    if name is not None:
        versions(storage, name)
    sizes = {item.key: item.size for item in storage.objects()}
    references, findings = _references(storage, sizes, name)
    manifests, damaged = _manifests(storage, references)
    findings += damaged
    refs = sorted(
        {BlobRef(sha256=b.sha256, size=b.size) for m in manifests.values() for b in m.blobs},
        key=lambda ref: ref.sha256,
    )
    findings += [found for ref in refs if (found := _check_blob(storage, ref)) is not None]
    if name is None:
        reached = {manifest_key(reference.digest) for reference in references}
        reached |= {blob_key(ref.sha256) for ref in refs}
        findings += _beyond_references(storage, sizes, reached)
        findings += _staging(storage, grace_s)
    return Report(
        url=storage.url,
        n_objects=len(sizes),
        n_manifests=len(manifests),
        n_blobs=len(refs),
        findings=tuple(sorted(findings, key=lambda finding: (finding.harmless, finding.key))),
    )


def _references(
    storage: ObjectStorage, sizes: dict[str, int], name: str | None
) -> tuple[list[_Reference], list[Finding]]:
    """Follow the index and the channels to the manifests they refer to."""
    references: list[_Reference] = []
    findings: list[Finding] = []
    last: ChannelKey | None = None
    for key in sorted(sizes):
        version, place = parse_version_key(key), parse_channel_key(key)
        if version is not None and name in (None, version.name):
            references.append(_Reference(key=key, name=version.name, digest=version.digest))
        if place is not None and name in (None, place.name):
            findings += _gap(storage, last, place)
            last = place
            try:
                digest = read_entry(storage, place).manifest
            except DamagedObject as error:
                findings.append(_finding(error, key))
            else:
                references.append(_Reference(key=key, name=place.name, digest=digest))
    return references, findings


def _gap(storage: ObjectStorage, last: ChannelKey | None, place: ChannelKey) -> Iterator[Finding]:
    """Report the entries missing between one channel entry and the next."""
    same = last is not None and (last.name, last.alias) == (place.name, place.alias)
    first = last.seq + 1 if same and last is not None else 1
    for seq in range(first, place.seq):
        key = channel_key(ChannelKey(name=place.name, alias=place.alias, seq=seq))
        detail = f"{storage.locate(key)}: expected an object, found entry {place.seq} next"
        yield Finding(code=MissingObject.code, key=key, detail=detail)


def _manifests(
    storage: ObjectStorage, references: list[_Reference]
) -> tuple[dict[str, Manifest], list[Finding]]:
    """Read every manifest referred to, once, and compare it with each reference."""
    manifests: dict[str, Manifest] = {}
    findings: list[Finding] = []
    for digest in sorted({reference.digest for reference in references}):
        try:
            manifests[digest] = read_manifest(storage, digest)
        except (DamagedObject, InvalidManifest) as error:
            findings.append(_finding(error, manifest_key(digest)))
    for reference in references:
        manifest = manifests.get(reference.digest)
        if manifest is not None and not _agrees(reference, manifest):
            detail = (
                f"{storage.locate(reference.key)}: refers to a sample set of {manifest.name} made "
                f"{manifest.created_at}, which does not belong here"
            )
            findings.append(Finding(code=AlienObject.code, key=reference.key, detail=detail))
    return manifests, findings


def _agrees(reference: _Reference, manifest: Manifest) -> bool:
    """Tell whether a reference may point to a manifest."""
    place = parse_version_key(reference.key)
    made = manifest.created_at if place is None else place.created_at
    return (reference.name, made) == (manifest.name, manifest.created_at)


def _check_blob(storage: ObjectStorage, ref: BlobRef) -> Finding | None:
    try:
        read_blob(storage, ref)
    except DamagedObject as error:
        return _finding(error, blob_key(ref.sha256))
    return None


def _beyond_references(
    storage: ObjectStorage, sizes: dict[str, int], reached: set[str]
) -> Iterator[Finding]:
    """Report what nothing refers to and what has no place in the layout."""
    if DESCRIPTOR not in sizes:
        detail = f"{storage.locate(DESCRIPTOR)}: expected an object, found none"
        yield Finding(code=MissingObject.code, key=DESCRIPTOR, detail=detail)
    for key in sorted(sizes.keys() - reached):
        if not belongs(key):
            detail = f"{storage.locate(key)}: has no place in the layout of a store"
            yield Finding(code=AlienObject.code, key=key, detail=detail)
        elif parse_version_key(key) is not None and sizes[key] > 0:
            detail = f"{storage.locate(key)}: expected an empty object, got {sizes[key]} bytes"
            yield Finding(code=AlienObject.code, key=key, detail=detail)
        elif key.startswith((BLOBS, MANIFESTS)):
            yield _check_orphan(storage, key, sizes[key])


def _check_orphan(storage: ObjectStorage, key: str, size: int) -> Finding:
    """Report an object nothing refers to; a damaged one would block its publication."""
    digest = content_digest(key)
    assert digest is not None
    try:
        if key.startswith(MANIFESTS):
            read_manifest(storage, digest)
        else:
            read_blob(storage, BlobRef(sha256=digest.removeprefix("sha256:"), size=size))
    except (DamagedObject, InvalidManifest) as error:
        return _finding(error, key)
    detail = f"{storage.locate(key)}: nothing refers to it; left by a publication that was cut off"
    return Finding(code="orphan-object", key=key, detail=detail, harmless=True)


def _staging(storage: ObjectStorage, grace_s: float) -> Iterator[Finding]:
    for file in storage.staging_files():
        if file.age_s >= grace_s:
            detail = (
                f"{storage.locate(file.key)}: left half written {file.age_s:.0f} s ago; "
                "may be deleted"
            )
            yield Finding(code="staging-file", key=file.key, detail=detail, harmless=True)


def _finding(error: DamagedObject | InvalidManifest, key: str) -> Finding:
    return Finding(code=error.code, key=error.key or key, detail=error.detail)
