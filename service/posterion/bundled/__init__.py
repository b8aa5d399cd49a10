"""Sample sets that ship with the package, and the recipes they were made with."""

from importlib.resources import files
from typing import Final

BUNDLED_BANKS: Final = ("ethanol", "chon-small")
"""Banks of the bundled store, the default model first."""


def bundled_store() -> str:
    """Path of the store that ships inside the package."""
    return str(files("posterion") / "bundled" / "store")
