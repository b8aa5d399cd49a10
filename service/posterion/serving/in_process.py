"""How banks, batcher and roll-out together answer the API, in whatever process they live."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import torch

from posterion.api.backend import (
    Health,
    ModelCard,
    ModelIdentity,
    PredictReply,
    Timing,
    VersionInfo,
)
from posterion.api.stepper import Stepper, StepsRequest
from posterion.errors import DeadlineExceeded
from posterion.graph.batch import Graph
from posterion.inference.loading import load_bank
from posterion.inference.predictor import Predictor
from posterion.inference.structure_checks import StructureLimits
from posterion.serving.batcher import Batcher
from posterion.serving.cards import model_card
from posterion.serving.groups import Group, evaluate, identity_of, kind_of, works_of
from posterion.serving.metrics import BatchMetrics
from posterion.serving.preparation import Preparation, prepare
from posterion.serving.rollout import Rollout, RolloutPolicy
from posterion.serving.self_check import check_predictions
from posterion.serving.settings import ServeSettings
from posterion.serving.stepping import BankStepper
from posterion.serving.work import Answers, BatcherLimits
from posterion.structures.evaluation import EvaluationOptions, Priority
from posterion.structures.prediction import Prediction
from posterion.structures.structure import Structure
from posterion_store import Manifest, Store
from posterion_store.names import version_of

NOT_LOADED = "not loaded"
PREPARATION_THREADS = 2


def resolve_device(settings: ServeSettings) -> Literal["cpu", "cuda"]:
    """Device to compute on; ``auto`` takes a GPU where there is one."""
    if settings.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return settings.device


class InProcessBackend:
    """The API's backend over the banks of one store on one device."""

    def __init__(self, settings: ServeSettings, metrics: BatchMetrics) -> None:
        """Open the store; nothing is loaded before ``startup``.

        Args:
            settings: The service.
            metrics: Counts the batches.

        Raises:
            StoreError: If there is no such store.
        """
        self._settings = settings
        self._device = resolve_device(settings)
        self._store = Store.open(settings.store, read_only=True)
        self._rollout: Rollout[Predictor] = Rollout(
            self._store,
            self._load,
            RolloutPolicy(
                selections=settings.selections,
                poll_interval_s=settings.poll_interval_s,
                n_old_versions=settings.n_old_versions,
            ),
        )
        self._batcher: Batcher[Group, Graph, Prediction] = Batcher(
            evaluate,
            BatcherLimits(
                bounds=settings.batch_bounds(self._device),
                max_batch_seconds=settings.max_batch_seconds,
                max_structures=settings.max_queued_structures,
                stall_timeout_s=settings.stall_timeout_s,
            ),
            kind_of=kind_of,
            observe=metrics.observe,
        )
        self._preparation = ThreadPoolExecutor(
            max_workers=PREPARATION_THREADS, thread_name_prefix="prepare"
        )
        self._draining = False
        self._told_of_drain: list[Callable[[], None]] = []
        metrics.watch(
            n_waiting=lambda: self._batcher.n_waiting,
            waiting_s=self._batcher.clearing_s,
            n_faults=lambda: len(self._rollout.faults),
            draining=lambda: self._draining,
        )

    async def startup(self) -> None:
        """Load and check the banks, then watch the store."""
        torch.set_num_threads(self._settings.n_cpus)
        self._batcher.start()
        await self._rollout.poll()
        self._rollout.start()

    def refuse_new(self) -> None:
        """Turn readiness off and refuse new requests; those admitted go on."""
        self._draining = True
        self._batcher.refuse_new()
        for notify in self._told_of_drain:
            notify()

    async def drain(self) -> None:
        """Refuse new requests and wait for the admitted ones, at most the drain timeout."""
        self.refuse_new()
        await self._batcher.stop(self._settings.drain_timeout_s)

    async def shutdown(self) -> None:
        """Drain and stop everything."""
        await self._rollout.stop()
        await self.drain()
        self._preparation.shutdown(wait=False, cancel_futures=True)

    def describe(self) -> tuple[str, ...]:
        """Say in a line each what is served, and what is not and why."""
        lines = [
            f"{name} {version_of(served.digest)} ({served.alias}, {served.loaded.n_samples} "
            f"samples, {self._device})"
            for name, served in self._rollout.served.items()
        ]
        return (*lines, *(f"{name}: {why}" for name, why in self._rollout.faults.items()))

    def default_model(self) -> str:
        """Name of the bank behind ``/v1/predict``."""
        return self._rollout.default_name()

    def models(self) -> Sequence[ModelCard]:
        """Card of the served version of each bank."""
        return [self.card(name, None) for name in self._rollout.served]

    def versions(self, name: str) -> Sequence[VersionInfo]:
        """Published versions of a bank, newest first."""
        listing = self._rollout.listing(name)
        return [
            VersionInfo(
                version=each.version,
                digest=each.digest,
                created_at=each.created_at,
                aliases=listing.aliases_of(each.digest),
            )
            for each in listing.versions
        ]

    def card(self, name: str, version: str | None) -> ModelCard:
        """Card of one version."""
        digest = self._rollout.digest(name, version)
        loaded = self._rollout.in_memory(digest)
        return model_card(
            self._manifest(name, digest),
            digest,
            aliases=self._rollout.listing(name).aliases_of(digest),
            engines={} if loaded is None else loaded.engines,
        )

    def identity(self, name: str, version: str | None) -> ModelIdentity:
        """Which version would answer now."""
        digest = self._rollout.digest(name, version)
        manifest = self._manifest(name, digest)
        loaded = self._rollout.in_memory(digest)
        engine = None if loaded is None else loaded.engine(EvaluationOptions())
        return ModelIdentity(
            name=name,
            version=version_of(digest),
            digest=digest,
            n_samples=len(manifest.samples),
            engine=NOT_LOADED if engine is None else engine.name,
            engine_deviation=None if engine is None else engine.deviation,
        )

    async def predict(
        self,
        name: str,
        version: str | None,
        structures: Sequence[Structure],
        options: EvaluationOptions,
        *,
        deadline_s: float | None,
        priority: Priority = "interactive",
    ) -> PredictReply:
        """Evaluate structures; see ``Backend``."""
        deadline = None if deadline_s is None else time.monotonic() + deadline_s
        digest = self._rollout.digest(name, version)
        with self._batcher.admission(len(structures)):
            try:
                async with asyncio.timeout(deadline_s):
                    predictor = await self._rollout.get(name, digest)
                    preparation = await prepare(
                        predictor.prepare,
                        structures,
                        self._preparation,
                        max_edges=self._settings.api.max_edges,
                    )
                    answers = await self._submit(
                        Group(predictor=predictor, options=options),
                        preparation,
                        deadline,
                        priority,
                    )
            except TimeoutError as error:
                raise DeadlineExceeded("the deadline passed before the answer") from error
        return PredictReply(
            model=identity_of(predictor, options),
            results=preparation.merge(answers.results),
            timing=Timing(
                queue_ms=1e3 * answers.queue_s,
                graph_ms=1e3 * preparation.slowest_s,
                evaluate_ms=1e3 * answers.evaluate_s,
            ),
        )

    async def open_steps(self, name: str, version: str | None, request: StepsRequest) -> Stepper:
        """Load a version for the steps of a session; see ``Backend``."""
        with self._batcher.admission(0):
            predictor = await self._rollout.get(name, self._rollout.digest(name, version))
        stepper = BankStepper(
            predictor, self._batcher, self._preparation, request, self._settings.api.max_edges
        )
        await stepper.check()
        return stepper

    def on_drain(self, notify: Callable[[], None]) -> None:
        """Remember whom to tell; see ``Backend``."""
        self._told_of_drain.append(notify)

    def live(self) -> Health:
        """Whether the device makes progress."""
        if self._batcher.healthy():
            return Health(ok=True, detail="the device makes progress")
        if self._draining:
            return Health(ok=True, detail="the service is shutting down")
        return Health(
            ok=False,
            detail=f"no progress for {self._settings.stall_timeout_s:g} s with structures waiting",
        )

    def ready(self) -> Health:
        """Whether predictions work now: each bank has passed its self-check."""
        if self._draining:
            return Health(ok=False, detail="the service is shutting down")
        live = self.live()
        if not live.ok:
            return live
        faults = "; ".join(f"{name}: {why}" for name, why in self._rollout.faults.items())
        if not self._rollout.complete:
            return Health(ok=False, detail=faults or "the banks are loading")
        return Health(ok=True, detail=faults or "every bank predicts")

    def _manifest(self, name: str, digest: str) -> Manifest:
        loaded = self._rollout.in_memory(digest)
        return self._rollout.listing(name).manifest(digest) if loaded is None else loaded.manifest

    async def _submit(
        self,
        group: Group,
        preparation: Preparation,
        deadline: float | None,
        priority: Priority,
    ) -> Answers[Prediction]:
        works = works_of(group.predictor, group.options, preparation.graphs)
        return await self._batcher.submit(group, works, deadline=deadline, priority=priority)

    def _load(self, name: str, digest: str) -> Predictor:
        """Load one version and check it; runs in a thread."""
        bank = load_bank(self._store, name, digest, device=self._device)
        limits = StructureLimits(
            n_atoms=self._settings.api.max_atoms,
            n_edges=min(self._settings.api.max_edges, self._settings.api.max_structure_edges),
        )
        predictor = Predictor(
            bank,
            device=self._device,
            limits=limits,
            n_threads=self._settings.n_cpus,
            engine=self._settings.engine,
        )
        check_predictions(predictor, bank.manifest.elements)
        return predictor
