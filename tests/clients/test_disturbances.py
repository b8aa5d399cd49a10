"""Every MD code on Ray Serve while its replicas are killed, or another version is promoted.

The relay between a run and the service knows how far the run is, and can keep it waiting until
what was done to the service can be seen.
"""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from posterion_client.selftest._code import Service as Asked
from posterion_client.selftest._codes import CODES
from posterion_store import Store
from tests.support.banks import publish_random_bank
from tests.support.code_runs import CodeRun, pinned
from tests.support.relay import relayed
from tests.support.services import Service, running_service
from tests.support.waiting import until

pytestmark = pytest.mark.clients

N_STEPS = 40
REPLICA = "ray::ServeRepli"


@dataclass
class Stage:
    """A service whose bank has two versions, and what undisturbed runs say of the first one.

    Attributes:
        service: Two replicas on Ray Serve.
        store: Behind it.
        versions: Digests; the first is served.
        undisturbed: By name of the code, total energies and bytes sent.
    """

    service: Service
    store: Store
    versions: tuple[str, str]
    undisturbed: dict[str, tuple[list[float], int]] = field(default_factory=dict)

    def replicas(self) -> set[int]:
        """Process ids."""
        return {each.pid for each in self.service.listeners() if each.program == REPLICA}

    def served(self) -> str:
        """Digest of what a request gets that names no version."""
        return pinned(self.service.url).digest

    def asked(self, url: str) -> Asked:
        """The first version, by an address."""
        return replace(pinned(self.service.url), url=url, digest=self.versions[0])

    def right(self, code: str, folder: Path) -> tuple[list[float], int]:
        """Total energies of an undisturbed run, and how many bytes it sent."""
        if code not in self.undisturbed:
            with relayed(self.service.url) as relay:
                run = CodeRun(code, self.asked(relay.url), folder, n_steps=N_STEPS)
                self.undisturbed[code] = (run.totals(), relay.n_sent)
        return self.undisturbed[code]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    path = str(tmp_path_factory.mktemp("store"))
    store = Store.open(path)
    first = publish_random_bank(store, n_samples=2)
    second = publish_random_bank(store, n_samples=2, seed=1, alias=None)
    with running_service("--store", path, "--device", "cpu", "--replicas", "2") as service:
        yield Stage(service, store, (first, second))


@pytest.mark.parametrize("code", CODES)
def test_killed_replicas_change_nothing(stage: Stage, code: str, tmp_path: Path) -> None:
    energies, n_bytes = stage.right(code, tmp_path)
    with relayed(stage.service.url) as relay:
        relay.hold_after(n_bytes // 2)
        run = CodeRun(code, stage.asked(relay.url), tmp_path, n_steps=N_STEPS)
        until(lambda: relay.holds)
        killed = stage.replicas()
        relay.release()  # what a replica is asked while it dies is part of it
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        assert run.totals() == energies
    assert stage.replicas().isdisjoint(killed)
    until(lambda: len(stage.replicas()) == 2)


@pytest.mark.parametrize("code", CODES)
def test_a_promotion_is_for_others(stage: Stage, code: str, tmp_path: Path) -> None:
    energies, n_bytes = stage.right(code, tmp_path)
    first, second = stage.versions
    with relayed(stage.service.url) as relay:
        relay.hold_after(n_bytes // 2)
        run = CodeRun(code, stage.asked(relay.url), tmp_path, n_steps=N_STEPS)
        until(lambda: relay.holds)
        stage.store.promote("ethanol", second, alias="stable", by="tests")
        try:
            until(lambda: [stage.served() for _ in range(8)] == [second] * 8)
            assert run.goes_on
            relay.release()
            assert run.totals() == energies
        finally:
            stage.store.rollback("ethanol", by="tests")
            until(lambda: [stage.served() for _ in range(8)] == [first] * 8)
