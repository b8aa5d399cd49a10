"""Routes that are read: where GET is answered, HEAD is, by the same headers."""

from collections.abc import Callable
from typing import Any

from fastapi.routing import APIRoute


class ReadRoute(APIRoute):
    """A route that answers HEAD with the headers of its GET, as Starlette's own routes do.

    The server leaves the body away.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401 - the framework's
        """Take what the framework's route takes."""
        super().__init__(path, endpoint, **options)
        if self.methods is not None and "GET" in self.methods:
            self.methods.add("HEAD")
