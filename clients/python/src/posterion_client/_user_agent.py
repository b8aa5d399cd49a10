"""How the client introduces itself."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Final


def _own_version() -> str:
    try:
        return version("posterion-client")
    except PackageNotFoundError:  # copied beside an MD code, not installed
        return "uninstalled"


OWN_VERSION: Final = _own_version()
USER_AGENT: Final = f"posterion-client/{OWN_VERSION} python/{platform.python_version()}"
