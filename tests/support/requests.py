"""Documents to send to the API."""

from typing import Any, Final

Document = dict[str, Any]

WATER: Final[Document] = {
    "numbers": [8, 1, 1],
    "positions": [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]],
}
SALT: Final[Document] = {
    "symbols": ["O", "H"],
    "positions": [[0.0, 0.0, 0.0], [1.0, 1.5, 2.0]],
    "cell": [[4.0, 0.0, 0.0], [0.5, 4.0, 0.0], [0.0, 0.0, 5.0]],
    "pbc": [True, True, True],
}
"""Periodic, and far enough from the springs' origin to be flagged."""
COINCIDENT: Final[Document] = {"numbers": [1, 1], "positions": [[0, 0, 0], [0.1, 0, 0]]}


def document(*structures: object, **options: object) -> Document:
    """A predict request."""
    return {"structures": list(structures), **options}
