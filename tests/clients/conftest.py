"""Services that the MD codes of these tests ask."""

from collections.abc import Iterator

import pytest

from tests.support.services import Service, running_service


@pytest.fixture(scope="session")
def bundled_service() -> Iterator[Service]:
    """A service with the bundled banks, in one process."""
    with running_service("--in-process", "--device", "cpu") as service:
        yield service
