"""One real service in one process, and the store behind it, for all tests of this folder."""

from collections.abc import Iterator

import pytest

from posterion.inference.loading import load_bank
from posterion.inference.predictor import Predictor
from posterion_client import Client
from posterion_store import Store
from tests.support.banks import publish_random_bank
from tests.support.services import Service, running_service

BANKS = ("ethanol", "moving", "damaged")


@pytest.fixture(scope="package")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A writable store in a directory, with one version of each bank."""
    store = Store.open(tmp_path_factory.mktemp("store"))
    for name in BANKS:
        publish_random_bank(store, name=name, n_samples=2, seed=0)
    return store


@pytest.fixture(scope="package")
def service(store: Store) -> Iterator[Service]:
    """The service; its default model is ``ethanol``."""
    banks = [f"--bank={name}" for name in BANKS]
    arguments = ("--store", str(store.url), "--in-process", "--device", "cpu", *banks)
    with running_service(*arguments) as service:
        yield service


@pytest.fixture(scope="package")
def client(service: Service) -> Iterator[Client]:
    """A client of its default model."""
    with Client(service.url) as client:
        yield client


@pytest.fixture(scope="package")
def predictor(store: Store) -> Predictor:
    """The same bank in this process."""
    return Predictor(load_bank(store, "ethanol"))
