"""The parameters and headers that the OpenAPI document refers to."""

from typing import Any

Json = dict[str, Any]


def parameters() -> Json:
    """Parameters of paths and headers of requests, by name."""
    return {
        "model": {
            "name": "model",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,62}$"},
        },
        "version": {
            "name": "version",
            "in": "path",
            "required": True,
            "description": "First 16 hex digits of the manifest's SHA-256, the whole digest, "
            "or an alias (stable, canary).",
            "schema": {"type": "string"},
        },
        "If-Match": {
            "name": "If-Match",
            "in": "header",
            "description": 'Answer only with this version: "sha256:<64 hex digits>".',
            "schema": {"type": "string"},
        },
        "Prefer": {
            "name": "Prefer",
            "in": "header",
            "description": "handling=strict answers the error of a request's only structure "
            "with its own status.",
            "schema": {"type": "string"},
        },
        "X-Request-ID": {
            "name": "X-Request-ID",
            "in": "header",
            "description": "Echoed if it is 1 to 128 of the characters A-Za-z0-9._:~- and "
            "starts with a letter or digit; made otherwise.",
            "schema": {"type": "string"},
        },
    }


def headers() -> Json:
    """Headers of replies, by name."""
    return {
        "ETag": {
            "description": "Digest of the version that answered, or that a card is of.",
            "schema": {"type": "string", "pattern": '^"sha256:[0-9a-f]{64}"$'},
        },
        "Posterion-Model": {
            "description": "name@version of the same.",
            "schema": {"type": "string"},
        },
        "X-Request-ID": {"schema": {"type": "string"}},
        "Retry-After": {
            "description": "Seconds.",
            "schema": {"type": "integer", "minimum": 1},
        },
    }
