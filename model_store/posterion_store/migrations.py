"""How a document of an older format version is brought to the present one.

Each format has an integer version. To change a format, raise its current version and add
to its steps one function that turns a document of the version before into the new one. Old
objects stay as they are in the store and are upgraded each time they are read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from posterion_store.errors import InvalidManifest, UnsupportedFormat

Document = dict[str, JsonValue]
Step = Callable[[Document], Document]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One kind of document and the versions of it that can be read.

    Attributes:
        kind: What the document is called in messages.
        current: The version this release writes.
        steps: For each older version, the function to the version after it.
    """

    kind: str
    current: int
    steps: Mapping[int, Step] = field(default_factory=dict)


STORE_FORMAT = Format(kind="store", current=1)
MANIFEST_FORMAT = Format(kind="manifest", current=1)
CHANNEL_FORMAT = Format(kind="channel entry", current=1)


def upgrade(document: Document, form: Format, *, where: str) -> Document:
    """Bring a document to the current version of its format.

    Args:
        document: The document as stored.
        form: What kind of document it is.
        where: The object it was read from, for messages.

    Returns:
        The document in the current version.

    Raises:
        UnsupportedFormat: If it is newer than this release, or no longer readable.
        InvalidManifest: If it does not say its version.
    """
    version = document.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InvalidManifest(
            f"{where}: expected a {form.kind} with an integer format_version of at least 1, "
            f"got {version!r}"
        )
    if version > form.current:
        raise UnsupportedFormat(
            f"{where}: {form.kind} has format version {version}, this release reads up to "
            f"{form.current}; install a newer posterion"
        )
    while version < form.current:
        step = form.steps.get(version)
        if step is None:
            raise UnsupportedFormat(
                f"{where}: {form.kind} has format version {version}, this release reads from "
                f"{min(form.steps, default=form.current)} to {form.current}"
            )
        version += 1
        document = {**step(document), "format_version": version}
    return document
