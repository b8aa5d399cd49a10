"""Where the service is: argument, then environment, then this machine."""

import os
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from posterion_client._errors import InvalidArgument

URL_VARIABLE: Final = "POSTERION_URL"
AUTHORIZATION_VARIABLE: Final = "POSTERION_AUTHORIZATION"
DEFAULT_URL: Final = "http://127.0.0.1:8000"


def resolve_url(url: str | None) -> str:
    """Choose the address and check it.

    Args:
        url: Address given by the caller; None or empty = look further.

    Returns:
        The address without a trailing slash; it may hold a path, where a proxy mounts the
        service below one.

    Raises:
        InvalidArgument: If the address is not an http or https URL.
    """
    chosen = url or os.environ.get(URL_VARIABLE) or DEFAULT_URL
    source = "url" if url else URL_VARIABLE
    try:
        parsed = urlsplit(chosen)
        parsed.port  # noqa: B018 - raises where the port is no number
    except ValueError as error:
        raise InvalidArgument(f"{source} is not a URL: {chosen!r} ({error})") from error
    if parsed.scheme not in ("http", "https") or not parsed.hostname:
        raise InvalidArgument(f"{source} must look like {DEFAULT_URL}, got {chosen!r}")
    if parsed.query or parsed.fragment:
        raise InvalidArgument(f"{source} must end with its path, got {chosen!r}")
    return chosen.rstrip("/")


def is_this_machine(url: str) -> bool:
    """Whether an address is on loopback, where a configured web proxy cannot reach it."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def with_authorization(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Headers to send, among them the one that proves who asks, where there is one.

    Args:
        headers: Given by the caller; an ``Authorization`` among them is the one. Else it is
            the environment variable ``POSTERION_AUTHORIZATION``, if set.

    Raises:
        InvalidArgument: If a header would not stay on its line; its value is not shown.
    """
    sent = dict(headers or {})
    value = os.environ.get(AUTHORIZATION_VARIABLE, "").strip()
    if value and "authorization" not in {name.lower() for name in sent}:
        sent["Authorization"] = value
    for name, content in sent.items():
        if set("\r\n\0") & set(name + content):
            shown = " ".join(name.split())
            raise InvalidArgument(f"the header {shown} holds the end of a line")
    return sent
