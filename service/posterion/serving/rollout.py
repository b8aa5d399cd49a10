"""Which version of each bank answers, while aliases move underneath.

A moved alias is noticed by polling. The new version is loaded and checked in a thread and
only then takes over, in one assignment; whatever fails on the way leaves the served version
in place and is told by ``faults``. Replaced versions stay in memory for a while, so that
requests pinned to them go on without reading the store.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from posterion.errors import NotReady, PosterionError, UnknownModel
from posterion.serving.catalog import BankListing, Catalog, VersionSource, read_catalog
from posterion_store import StoreError
from posterion_store.names import DEFAULT_ALIAS

LoadedT = TypeVar("LoadedT")
LONGEST_RETRY_S = 60.0
STORE = "store"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPolicy:
    """What is served and how eagerly.

    Attributes:
        selections: Name and alias of the banks to serve; empty serves all at ``stable``.
        poll_interval_s: How often the store is asked.
        n_old_versions: Versions kept in memory besides the served ones.
    """

    selections: tuple[tuple[str, str], ...] = ()
    poll_interval_s: float = 1.0
    n_old_versions: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Served(Generic[LoadedT]):
    """The version of a bank that answers by default.

    Attributes:
        alias: Alias it follows.
        digest: Its digest.
        loaded: The bank in memory.
    """

    alias: str
    digest: str
    loaded: LoadedT


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    digest: str
    reason: str
    retry_at: float
    pause_s: float


class Rollout(Generic[LoadedT]):
    """The banks in memory. All methods belong to one event loop; loading has threads."""

    def __init__(
        self,
        source: VersionSource,
        load: Callable[[str, str], LoadedT],
        policy: RolloutPolicy,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the store; nothing is read before ``poll``.

        Args:
            source: The store.
            load: Loads and checks a version, given name and digest; may block and raise.
            policy: What is served and how eagerly.
            clock: Seconds on a monotonic clock.
        """
        self._source = source
        self._load = load
        self._policy = policy
        self._clock = clock
        self._catalog = Catalog()
        self._served: dict[str, Served[LoadedT]] = {}
        self._old: OrderedDict[str, LoadedT] = OrderedDict()
        self._loading: dict[str, asyncio.Task[LoadedT]] = {}
        self._failures: dict[str, _Failure] = {}
        self._store_fault: str | None = None
        self._watch_task: asyncio.Task[None] | None = None

    @property
    def served(self) -> Mapping[str, Served[LoadedT]]:
        """What answers by default, by bank name."""
        return self._served

    @property
    def faults(self) -> Mapping[str, str]:
        """Why the store, or a bank's newest version, is not in use; empty if all is well."""
        faults = dict(self._catalog.faults)
        faults |= {name: failure.reason for name, failure in self._failures.items()}
        if self._store_fault is not None:
            faults[STORE] = self._store_fault
        return faults

    @property
    def complete(self) -> bool:
        """Whether every bank that should be served is."""
        wanted = self._wanted()
        return bool(wanted) and all(name in self._served for name in wanted)

    def default_name(self) -> str:
        """Name of the bank that requests without one mean.

        Raises:
            NotReady: If there is none yet.
        """
        names = [name for name, _ in self._policy.selections] or sorted(self._served)
        if not names:
            raise NotReady("no model is loaded yet", retry_after_s=1.0)
        return names[0]

    def listing(self, name: str) -> BankListing:
        """What is known of a bank that is served or about to be.

        Raises:
            UnknownModel: If there is none of that name.
        """
        listing = self._catalog.bank(name)
        if name not in self._wanted():
            raise UnknownModel(f"model {name!r} is not served here")
        return listing

    def digest(self, name: str, version: str | None) -> str:
        """Digest that would answer now.

        Args:
            name: Bank name.
            version: None (what is served), an alias, hex digits or a digest.

        Raises:
            UnknownModel: If there is no such bank or version.
            NotReady: If the bank is still loading.
        """
        listing = self.listing(name)
        served = self._served.get(name)
        if served is not None and version in {None, served.alias}:
            return served.digest
        if version is None:
            raise NotReady(f"model {name!r} is still loading", retry_after_s=1.0)
        return listing.find(version)

    def in_memory(self, digest: str) -> LoadedT | None:
        """The loaded version of that digest, if it is in memory."""
        for served in self._served.values():
            if served.digest == digest:
                return served.loaded
        return self._old.get(digest)

    async def get(self, name: str, digest: str) -> LoadedT:
        """The loaded version of that digest; read from the store if need be.

        Raises:
            NotReady: If it cannot be loaded now.
        """
        loaded = self.in_memory(digest)
        if loaded is None:
            try:
                loaded = await self._load_once(name, digest)
            except (StoreError, PosterionError, OSError) as error:
                logger.warning("version %s of %s cannot be loaded: %s", digest, name, error)
                raise NotReady(f"version {digest} of {name!r} cannot be loaded: {error}") from error
            self._keep(digest, loaded)
        elif digest in self._old:
            self._old.move_to_end(digest)
        return loaded

    def start(self) -> None:
        """Watch the store from now on."""
        self._watch_task = asyncio.create_task(self._watch(), name="rollout")

    async def stop(self) -> None:
        """Stop watching; what is loaded stays."""
        if self._watch_task is not None:
            self._watch_task.cancel()
            await asyncio.gather(self._watch_task, return_exceptions=True)

    async def poll(self) -> None:
        """Look at the store once and follow every alias that moved."""
        wanted = frozenset(name for name, _ in self._policy.selections)
        previous = self._catalog
        try:
            self._catalog = await asyncio.to_thread(read_catalog, self._source, previous, wanted)
        except (StoreError, OSError) as error:
            if self._store_fault is None:
                logger.warning("the store cannot be read: %s", error)
            self._store_fault = str(error)
            return
        self._store_fault = None
        for name, reason in self._catalog.faults.items() - previous.faults.items():
            logger.error("%s: %s", name, reason)
        for name, alias in self._wanted().items():
            await self._follow(name, alias)

    async def _watch(self) -> None:
        while True:
            try:
                await self.poll()
            except Exception:
                logger.exception("a look at the store failed")
            await asyncio.sleep(self._policy.poll_interval_s)

    def _wanted(self) -> dict[str, str]:
        """Name to alias of every bank that should be served."""
        if self._policy.selections:
            return dict(self._policy.selections)
        return {
            name: DEFAULT_ALIAS
            for name, listing in self._catalog.banks.items()
            if DEFAULT_ALIAS in listing.aliases or name in self._served
        }

    async def _follow(self, name: str, alias: str) -> None:
        """Let the version behind the alias take over, if it is new and sound."""
        listing = self._catalog.banks.get(name)
        digest = None if listing is None else listing.aliases.get(alias)
        if digest is None:
            # A bank that cannot be listed has said why.
            if name not in self._catalog.faults:
                self._fail(name, "", f"the store has no {name}@{alias}")
            return
        served = self._served.get(name)
        if served is not None and served.digest == digest:
            self._failures.pop(name, None)
            return
        failure = self._failures.get(name)
        if failure is not None and failure.digest == digest and self._clock() < failure.retry_at:
            return
        await self._replace(name, alias, digest)

    async def _replace(self, name: str, alias: str, digest: str) -> None:
        try:
            loaded = self.in_memory(digest) or await self._load_once(name, digest)
        except (StoreError, PosterionError, OSError) as error:
            self._fail(name, digest, f"version {digest} is refused: {error}")
            return
        except Exception as error:
            logger.exception("a defect of the service, met while loading %s", name)
            self._fail(name, digest, f"version {digest} is refused: {error}")
            return
        previous = self._served.get(name)
        self._served[name] = Served(alias=alias, digest=digest, loaded=loaded)
        self._old.pop(digest, None)
        self._failures.pop(name, None)
        logger.info("serving %s %s", name, digest)
        if previous is not None:
            self._keep(previous.digest, previous.loaded)

    def _fail(self, name: str, digest: str, reason: str) -> None:
        """Remember why, and wait twice as long as last time before the next attempt."""
        last = self._failures.get(name)
        if last is None or last.reason != reason:
            logger.error("%s: %s", name, reason)
        pause_s = self._policy.poll_interval_s
        if last is not None and last.digest == digest:
            pause_s = min(LONGEST_RETRY_S, 2.0 * last.pause_s)
        self._failures[name] = _Failure(
            digest=digest, reason=reason, retry_at=self._clock() + pause_s, pause_s=pause_s
        )

    def _keep(self, digest: str, loaded: LoadedT) -> None:
        """Keep a version that is not served, and let go of the one unused for longest."""
        if any(served.digest == digest for served in self._served.values()):
            return
        self._old[digest] = loaded
        self._old.move_to_end(digest)
        while len(self._old) > self._policy.n_old_versions:
            self._old.popitem(last=False)

    async def _load_once(self, name: str, digest: str) -> LoadedT:
        """Load in a thread; whoever asks meanwhile waits for the same load."""
        task = self._loading.get(digest)
        if task is None:
            task = asyncio.create_task(asyncio.to_thread(self._load, name, digest))
            self._loading[digest] = task
            task.add_done_callback(lambda _: self._loading.pop(digest, None))
        return await asyncio.shield(task)
