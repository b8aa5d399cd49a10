"""A roll-out over a real store in memory and a loader the test decides."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from posterion.errors import BankInvalid
from posterion.serving.rollout import Rollout, RolloutPolicy
from posterion_store import Manifest, Store, StoreUnreachable, VersionEntry
from posterion_store.watch import Heads
from tests.support.sample_sets import publish_sample_set

PATIENCE_S = 30.0


@dataclass
class FlakyStore:
    """A store that can be cut off.

    Attributes:
        store: The store behind it.
        down: Whether every call fails.
        manifests_read: Digests of the manifests that were read, in order.
    """

    store: Store
    down: bool = False
    manifests_read: list[str] = field(default_factory=list)

    def names(self) -> list[str]:
        self._check()
        return self.store.names()

    def heads(self, name: str | None = None) -> Heads:
        self._check()
        return self.store.heads(name)

    def versions(self, name: str) -> list[VersionEntry]:
        self._check()
        return self.store.versions(name)

    def manifest(self, digest: str) -> Manifest:
        self._check()
        self.manifests_read.append(digest)
        return self.store.manifest(digest)

    def _check(self) -> None:
        if self.down:
            raise StoreUnreachable("the store is down")


@dataclass
class Loader:
    """Loads a version as its own digest, and keeps count.

    Attributes:
        refused: Digests that cannot be loaded.
        loads: Digests asked for, in order.
        gate: Loading waits until it is set.
    """

    refused: set[str] = field(default_factory=set)
    loads: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def __call__(self, name: str, digest: str) -> str:
        self.loads.append(digest)
        if not self.gate.wait(PATIENCE_S):
            raise TimeoutError("the test never let this load through")
        if digest in self.refused:
            raise BankInvalid(f"bank {name}: blob sha256:77 is truncated")
        return f"loaded {digest}"


@dataclass
class Bench:
    """A roll-out, its store, its loader and its clock."""

    store: FlakyStore
    loader: Loader
    rollout: Rollout[str]
    now: list[float]

    def publish(self, number: int, *, name: str = "ethanol", alias: str | None = "stable") -> str:
        digest = publish_sample_set(self.store.store, name, number)
        if alias is not None:
            self.store.store.promote(name, digest, alias=alias, by="tests")
        return digest

    def answering(self, name: str = "ethanol") -> str:
        return self.rollout.served[name].digest


def on_bench(
    body: Callable[[Bench], Coroutine[None, None, None]],
    *,
    selections: tuple[tuple[str, str], ...] = (),
    n_old_versions: int = 1,
) -> None:
    """Run ``body`` with an empty store and a roll-out over it."""

    async def run() -> None:
        store, loader, now = FlakyStore(Store.open("memory://")), Loader(), [0.0]
        loader.gate.set()
        policy = RolloutPolicy(
            selections=selections, poll_interval_s=1.0, n_old_versions=n_old_versions
        )
        rollout = Rollout(store, loader, policy, clock=lambda: now[0])
        await body(Bench(store, loader, rollout, now))

    asyncio.run(run())
