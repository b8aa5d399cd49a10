"""What came back for a request, whatever library carried it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP response, read to its end.

    Attributes:
        url: What was asked.
        status: HTTP status.
        headers: Fields by their names in lower case.
        content: The body.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def media_type(self) -> str:
        """Media type in lower case, without parameters; empty if none is declared."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def beginning(self) -> str:
        """The first characters of the body, to show what came instead of a document."""
        text = self.content[:200].decode("utf-8", errors="backslashreplace")
        return repr(" ".join(text.split())[:120])

    @property
    def request_id(self) -> str | None:
        """Identifier of the request in the service's logs, if known."""
        return self.headers.get("x-request-id")
