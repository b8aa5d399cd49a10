"""What the headers of a request ask for: encodings, version pin, preferences."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from posterion.api.codec import DOCUMENTS, MediaType
from posterion.errors import NotAcceptable, UnsupportedMediaType, VersionMoved

_REMEMBERED: Final = 64
"""Callers say the same of encodings in every request; what is refused is not remembered."""
_ENTITY_TAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e]*)"')


@lru_cache(maxsize=_REMEMBERED)
def request_media_type(
    content_type: str | None, offers: tuple[MediaType, ...] = DOCUMENTS
) -> MediaType:
    """Which encoding a request body is in.

    Args:
        content_type: Value of the ``Content-Type`` header.
        offers: The encodings that the route reads.

    Returns:
        The media type.

    Raises:
        UnsupportedMediaType: If there is none, or it is not one of ours in UTF-8.
    """
    essence, _, parameters = (content_type or "").partition(";")
    charset = _parameter(parameters, "charset")
    known = {str(media_type): media_type for media_type in offers}
    media_type = known.get(essence.strip().lower())
    if media_type is None or charset not in (None, "utf-8", "utf8"):
        raise UnsupportedMediaType(f"expected Content-Type: {', '.join(offers)} (UTF-8)")
    return media_type


@lru_cache(maxsize=_REMEMBERED)
def reply_media_type(
    accept: str | None,
    offers: tuple[MediaType, ...] = DOCUMENTS,
    *,
    default: MediaType = MediaType.JSON,
) -> MediaType:
    """Which encoding the reply should have.

    Args:
        accept: Value of the ``Accept`` header; None accepts everything.
        offers: The encodings that the route writes.
        default: Preferred where the caller accepts several equally.

    Returns:
        The media type with the highest quality.

    Raises:
        NotAcceptable: If the caller accepts none of ours.
    """
    if accept is None or not accept.strip():
        return default
    ranges = [_media_range(part) for part in accept.split(",")]
    qualities = {offer: _quality(offer, ranges) for offer in (default, *offers)}
    best: MediaType = max(qualities, key=lambda offer: qualities[offer])
    if qualities[best] <= 0:
        raise NotAcceptable(f"can answer with {', '.join(offers)}")
    return best


def check_if_match(if_match: str | None, digest: str) -> None:
    """Refuse a request that is pinned to another version than the one that would answer.

    Args:
        if_match: Value of the ``If-Match`` header, if any.
        digest: ``sha256:<hex>`` of the version that would answer.

    Raises:
        VersionMoved: If none of the listed entity tags is that version's.
    """
    if if_match is None or if_match.strip() == "*":
        return
    tags = [match[2] for match in _ENTITY_TAG.finditer(if_match) if not match[1]]
    if digest not in tags:
        raise VersionMoved(f'the request is pinned to another version than "{digest}"')


def prefers_strict_handling(prefer: Sequence[str]) -> bool:
    """Whether a caller wants the error of a single structure as an HTTP error.

    Args:
        prefer: Values of all ``Prefer`` headers (RFC 7240).
    """
    preferences = [part.strip().lower() for value in prefer for part in value.split(",")]
    handling = [name for name in preferences if name.startswith("handling")]
    # The first of repeated preferences counts.
    return bool(handling) and handling[0].replace(" ", "").replace('"', "") == "handling=strict"


def _parameter(parameters: str, name: str) -> str | None:
    for parameter in parameters.split(";"):
        key, _, value = parameter.partition("=")
        if key.strip().lower() == name:
            return value.strip().strip('"').lower()
    return None


def _media_range(part: str) -> tuple[str, float]:
    essence, _, parameters = part.partition(";")
    weight = _parameter(parameters, "q")
    try:
        quality = 1.0 if weight is None else float(weight)
    except ValueError:
        quality = 0.0
    return essence.strip().lower(), quality if 0.0 <= quality <= 1.0 else 0.0


def _quality(offer: MediaType, ranges: Sequence[tuple[str, float]]) -> float:
    """Quality of the most specific range that covers an offer; 0 if none does."""
    for pattern in (str(offer), "application/*", "*/*"):
        matching = [quality for essence, quality in ranges if essence == pattern]
        if matching:
            return max(matching)
    return 0.0
