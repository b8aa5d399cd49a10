"""A service that answers from memory, a client of it, and atoms that use the client."""

import threading
from collections.abc import Iterator

import pytest
from ase import Atoms

from posterion_client import Client, RetryPolicy
from posterion_client.ase import PosterionCalculator
from tests.support.fake_backend import SpringBackend
from tests.support.spring_service import SpringService, spring_service
from tests.unit.client.examples import molecule
from tests.unit.client.loopback import Server
from tests.unit.client.stand_in import (
    StandIn,
)


@pytest.fixture
def service() -> StandIn:
    return StandIn()


@pytest.fixture
def client(service: StandIn) -> Iterator[Client]:
    with Client(transport=service.transport, retry=RetryPolicy(budget_s=0)) as client:
        yield client


@pytest.fixture
def atoms(client: Client) -> Atoms:
    atoms = molecule("CH3CH2OH")
    atoms.calc = PosterionCalculator(client=client)
    return atoms


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.finished.set()
        server.shutdown()
        thread.join(10)


@pytest.fixture(scope="module")
def springs() -> Iterator[SpringService]:
    """The product's own application over springs, on a real socket."""
    with spring_service() as running:
        yield running


@pytest.fixture
def backend(springs: SpringService) -> Iterator[SpringBackend]:
    """What answers behind it; behaves again after each test."""
    yield springs.backend
    springs.backend.failure = springs.backend.poison = None
    springs.backend.structure_failures.clear()
