"""What the API needs from whatever evaluates structures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from posterion.errors import PosterionError
from posterion.structures.evaluation import EvaluationOptions, Priority
from posterion.structures.prediction import Prediction
from posterion.structures.structure import Structure

JsonObject = Mapping[str, object]
"""Anything that JSON can say, keyed by strings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """Which sample set answers, and how.

    Attributes:
        name: Bank name, the ``{model}`` of the routes.
        version: First 16 hex digits of the manifest's SHA-256.
        digest: ``sha256:<64 hex digits>`` of the manifest.
        n_samples: Number of posterior samples evaluated.
        engine: Name of the engine that evaluates them, e.g. ``fused``.
        engine_deviation: Largest difference of its forces from the float64 reference in its
            self-test, relative to their root mean square; None before the version is loaded.
    """

    name: str
    version: str
    digest: str
    n_samples: int
    engine: str
    engine_deviation: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Where the time of one request went, in milliseconds.

    Attributes:
        queue_ms: Waiting for the device.
        graph_ms: Finding neighbours, the slowest structure of the request.
        evaluate_ms: On the device, in the batches that held the request's structures.
    """

    queue_ms: float
    graph_ms: float
    evaluate_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictReply:
    """Answers to the structures of one request, in their order.

    Attributes:
        model: The version that computed every result.
        results: One prediction, or the error of that structure alone, per structure.
        timing: Where the time went.
    """

    model: ModelIdentity
    results: tuple[Prediction | PosterionError, ...]
    timing: Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionInfo:
    """One published version of a bank.

    Attributes:
        version: First 16 hex digits of the manifest's SHA-256.
        digest: ``sha256:<64 hex digits>`` of the manifest.
        created_at: ISO 8601, UTC.
        aliases: Aliases that point to it now, e.g. ``stable``.
    """

    version: str
    digest: str
    created_at: str
    aliases: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What a caller should know about one version before trusting it.

    Attributes:
        name: Bank name.
        version: First 16 hex digits of the manifest's SHA-256.
        digest: ``sha256:<64 hex digits>`` of the manifest.
        description: One paragraph.
        elements: Atomic numbers the model was trained on.
        cutoff: Radius of the network's neighbourhoods, Angstrom.
        periodic: Whether periodic structures and stress are supported.
        level_of_theory: Of the reference data.
        datasets: Role, source, number of frames and digest of each data set.
        method: Name of the sampler.
        sampler: Its settings.
        diagnostics: R-hat, effective sample sizes, kinetic temperature.
        n_samples: Number of posterior samples.
        n_chains: Number of chains they come from.
        calibration: Factors, level, data set and identity of the calibration.
        thresholds: Thresholds of the flags with their units.
        metrics: Errors and coverages on held-out frames.
        engines: Engine by precision, e.g. ``{"float32": "fused"}``; empty for a version that
            is not in memory.
        engine_deviations: Likewise, see `ModelIdentity`.
        created_at: ISO 8601, UTC.
        licence: Licence of the sample set.
        aliases: Aliases that point to this version now.
    """

    name: str
    version: str
    digest: str
    description: str
    elements: tuple[int, ...]
    cutoff: float
    periodic: bool
    level_of_theory: str
    datasets: Sequence[JsonObject]
    method: str
    sampler: JsonObject
    diagnostics: JsonObject
    n_samples: int
    n_chains: int
    calibration: JsonObject
    thresholds: JsonObject
    metrics: JsonObject
    engines: Mapping[str, str]
    engine_deviations: Mapping[str, float]
    created_at: str
    licence: str
    aliases: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether a probe passes, and one sentence why.

    Attributes:
        ok: Whether it passes.
        detail: Why, for a human.
    """

    ok: bool
    detail: str


class Backend(Protocol):
    """Evaluates structures with the served sample banks.

    A version argument is None (the served default), an alias, a short version of at least
    eight hex digits, or a whole digest. The synchronous methods are called on the event
    loop: they look things up and never compute or read files.
    """

    def default_model(self) -> str:
        """Name of the bank behind ``/v1/predict``; raises NotReady before there is one."""
        ...

    def models(self) -> Sequence[ModelCard]:
        """Card of the current version of each served bank."""
        ...

    def versions(self, name: str) -> Sequence[VersionInfo]:
        """Published versions of a bank, newest first; raises UnknownModel."""
        ...

    def card(self, name: str, version: str | None) -> ModelCard:
        """Card of one version; raises UnknownModel."""
        ...

    def identity(self, name: str, version: str | None) -> ModelIdentity:
        """Which version would answer now; raises UnknownModel or NotReady."""
        ...

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
        """Evaluate structures; cancelling the call drops the work still queued.

        Args:
            name: Bank name.
            version: See the class.
            structures: At least one.
            options: Shared by all structures.
            deadline_s: Seconds from now after which no answer is wanted; None = none.
            priority: Who waits for the answer; bulk structures yield to interactive ones.

        Returns:
            One result per structure, in order; errors of one structure are values.

        Raises:
            UnknownModel: No such bank or version.
            NotReady: The bank is still loading.
            Overloaded: The queue is full.
            Draining: The service is shutting down.
            DeadlineExceeded: The deadline passed first, or is bound to.
        """
        ...

    def live(self) -> Health:
        """Whether the process makes progress; a failing probe restarts it."""
        ...

    def ready(self) -> Health:
        """Whether predictions work now; a failing probe takes it out of rotation."""
        ...

    async def startup(self) -> None:
        """Called once before the first request."""
        ...

    async def shutdown(self) -> None:
        """Called once after the last request."""
        ...
