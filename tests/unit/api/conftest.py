"""An application over springs, and a caller of it."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI

from posterion.api.app import create_app
from posterion.api.settings import ApiSettings
from tests.support.asgi_caller import AsgiCaller
from tests.support.fake_backend import SpringBackend


@pytest.fixture
def backend() -> SpringBackend:
    return SpringBackend()


@pytest.fixture
def app(backend: SpringBackend) -> FastAPI:
    return create_app(ApiSettings(max_atoms=1000, max_structures=64), backend)


@pytest.fixture
def caller(app: FastAPI) -> Iterator[AsgiCaller]:
    with AsgiCaller(app) as asgi_caller:
        yield asgi_caller
