"""Versions come and go under a running service, and its callers notice only what they should."""

from pathlib import Path

import pytest

from posterion_client import Client, ModelChanged, NotReady, RetryPolicy, Structure
from posterion_store import Store
from tests.support.banks import NUMBERS, POSITIONS, publish_random_bank
from tests.support.damage import flip
from tests.support.services import Service
from tests.support.waiting import until

ONCE = RetryPolicy(budget_s=0)
ETHANOL = Structure(numbers=NUMBERS, positions=POSITIONS)


def test_a_promoted_version_is_served_and_rolled_back_without_a_restart(
    service: Service, store: Store
) -> None:
    first = store.resolve("moving")
    second = publish_random_bank(store, name="moving", n_samples=2, seed=1, alias=None)
    with (
        Client(service.url, model="moving") as client,
        Client(service.url, model="moving", pin=True) as pinned,
    ):

        def answering() -> str:
            return client.predict(ETHANOL).model.digest

        before = client.predict(ETHANOL)
        assert pinned.predict(ETHANOL).model.digest == before.model.digest == first
        store.promote("moving", second, alias="stable", by="tests")
        until(lambda: answering() == second)
        assert client.predict(ETHANOL).energy != before.energy
        with pytest.raises(ModelChanged):
            pinned.predict(ETHANOL)
        by_name = client.predict(ETHANOL, version=first)
        assert (by_name.model.digest, by_name.energy) == (first, before.energy)
        store.rollback("moving", by="tests")
        until(lambda: answering() == first)
        assert pinned.predict(ETHANOL).energy == before.energy
        assert {each.digest for each in client.versions("moving")} == {first, second}


def test_a_damaged_version_is_refused_by_the_name_of_its_file(
    service: Service, store: Store
) -> None:
    first = store.resolve("damaged")
    second = publish_random_bank(store, name="damaged", n_samples=2, seed=2, alias=None)
    victim = store.manifest(second).samples[1].sha256
    flip(Path(store.url, "blobs", "sha256", victim))
    store.promote("damaged", second, alias="stable", by="tests")
    with service.client() as http, Client(service.url, model="damaged", retry=ONCE) as client:
        until(lambda: f"blobs/sha256/{victim}" in http.get("/readyz").json()["detail"])
        assert http.get("/readyz").status_code == 200
        assert client.predict(ETHANOL).model.digest == first
        with pytest.raises(NotReady, match=f"blobs/sha256/{victim}"):
            client.predict(ETHANOL, version=second)
        # The other banks are none the worse.
        assert client.predict(ETHANOL, model="ethanol").model.name == "ethanol"
