"""Which names, digests and timestamps are allowed, so that each is safe inside a key.

Keys are formed only from strings that passed these patterns. None of them admits a dot
at the start of a segment, a slash where one segment is meant, or an upper-case variant,
so no name can leave its folder and no two names collide on a case-blind file system.
"""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from posterion_store.errors import InvalidName

DEFAULT_ALIAS = "stable"
VERSION_LENGTH = 16
MIN_PREFIX_LENGTH = 8

_NAME = r"[a-z0-9][a-z0-9-]{0,62}"
_ALIAS = r"[a-z][a-z0-9-]{0,31}"
_HEX = r"[0-9a-f]{64}"
_DIGEST = r"sha256:[0-9a-f]{64}"
_FILE_SEGMENT = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_FILE_NAME = rf"{_FILE_SEGMENT}(/{_FILE_SEGMENT}){{0,3}}"
_HEX_PREFIX = rf"[0-9a-f]{{{MIN_PREFIX_LENGTH},64}}"


def to_utc_timestamp(text: str) -> str:
    """Bring an ISO 8601 time to the one spelling the store writes.

    Args:
        text: A time with an offset of zero, e.g. ``2025-03-01T12:00:00+00:00``.

    Returns:
        The same time ending in ``Z``, with microseconds only if it has any.

    Raises:
        ValueError: If the text is not a time in UTC.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"expected an ISO 8601 time in UTC, got {text!r}") from error
    if time.utcoffset() != timedelta(0):
        raise ValueError(f"expected a time in UTC (ending in Z or +00:00), got {text!r}")
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def utc_now() -> str:
    """Tell the present time as the store writes it."""
    return to_utc_timestamp(datetime.now(UTC).isoformat())


BankName = Annotated[str, StringConstraints(pattern=f"^{_NAME}$")]
Alias = Annotated[str, StringConstraints(pattern=f"^{_ALIAS}$")]
Sha256 = Annotated[str, StringConstraints(pattern=f"^{_HEX}$")]
Digest = Annotated[str, StringConstraints(pattern=f"^{_DIGEST}$")]
FileName = Annotated[str, StringConstraints(pattern=f"^{_FILE_NAME}$")]
UtcTimestamp = Annotated[str, AfterValidator(to_utc_timestamp)]


def check_name(name: str) -> str:
    """Return a bank name unchanged, or refuse it.

    Raises:
        InvalidName: If it is not 1 to 63 of ``a-z 0-9 -``, the first no hyphen.
    """
    if not re.fullmatch(_NAME, name):
        raise InvalidName(
            "a bank name has 1 to 63 characters of a-z, 0-9 and '-', the first no '-'; "
            f"got {name!r}"
        )
    return name


def check_alias(alias: str) -> str:
    """Return an alias unchanged, or refuse it.

    Raises:
        InvalidName: If it has a wrong form or could be read as digits of a version.
    """
    if not re.fullmatch(_ALIAS, alias):
        raise InvalidName(
            "an alias has 1 to 32 characters of a-z, 0-9 and '-', the first a letter; "
            f"got {alias!r}"
        )
    if is_hex_prefix(alias):
        raise InvalidName(
            f"an alias of {MIN_PREFIX_LENGTH} or more hexadecimal digits could be taken for a "
            f"version; got {alias!r}"
        )
    return alias


def is_alias(text: str) -> bool:
    """Tell whether a text can only be an alias, never the digits of a version."""
    return re.fullmatch(_ALIAS, text) is not None and not is_hex_prefix(text)


def is_hex_prefix(text: str) -> bool:
    """Tell whether a text can be the leading digits of a version."""
    return re.fullmatch(_HEX_PREFIX, text) is not None


def is_digest(text: str) -> bool:
    """Tell whether a text is a full digest, ``sha256:`` and 64 digits."""
    return re.fullmatch(_DIGEST, text) is not None


def sha256_hex(data: bytes) -> str:
    """Hash bytes; 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def digest_of(data: bytes) -> str:
    """Hash bytes; ``sha256:`` and 64 hexadecimal digits."""
    return f"sha256:{sha256_hex(data)}"


def hex_of(digest: str) -> str:
    """Return the 64 hexadecimal digits of a digest.

    Raises:
        InvalidName: If it is not a digest.
    """
    if not is_digest(digest):
        raise InvalidName(f"a digest is 'sha256:' and 64 hexadecimal digits; got {digest!r}")
    return digest.removeprefix("sha256:")


def version_of(digest: str) -> str:
    """Return the short version, the first 16 hexadecimal digits of a digest."""
    return hex_of(digest)[:VERSION_LENGTH]
