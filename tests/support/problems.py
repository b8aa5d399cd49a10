"""What every problem object has in common."""

from typing import Any

import httpx


def check_problem(reply: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check the form of an error and return its document."""
    body: dict[str, Any] = reply.json()
    assert (reply.status_code, body["code"]) == (status, code)
    assert reply.headers["content-type"] == "application/problem+json"
    assert body["status"] == status
    assert body["type"] == f"urn:posterion:problem:{code}"
    assert body["instance"] == f"urn:request:{reply.headers['x-request-id']}"
    assert body.keys() == {
        "type",
        "title",
        "status",
        "detail",
        "instance",
        "code",
        "errors",
        "retryable",
    }
    assert len(body["errors"]) <= 10
    if status in (429, 503):
        assert int(reply.headers["retry-after"]) >= 1
        assert body["retryable"]
    return body
