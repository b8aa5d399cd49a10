"""Services that the MD codes of these tests ask."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from posterion_client.selftest._native import Build
from tests.support.md_codes import environment_python
from tests.support.services import Service, running_service


@pytest.fixture(scope="session")
def bundled_service() -> Iterator[Service]:
    """A service with the bundled banks, in one process."""
    with running_service("--in-process", "--device", "cpu") as service:
        yield service


@pytest.fixture(scope="session")
def plugin() -> Iterator[Path]:
    """The LAMMPS plugin, compiled."""
    build = Build("lammps", {"PYTHON": str(environment_python("lammps"))})
    yield build.made("posterionplugin.so")
    del build  # removes the folder
