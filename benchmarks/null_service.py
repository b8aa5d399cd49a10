"""A service whose model costs nothing: what is left is what everything but the engine costs.

    python -m benchmarks.null_service {floor,in-process,ray} --port PORT

``in-process`` and ``ray`` are the product's own app, server and deployment over a backend that
answers zeros at once. ``floor`` is the least that this stack can do: an ASGI function under the
same uvicorn that reads the body and answers as many bytes as the header ``x-reply-bytes`` says.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
import uvicorn
from starlette.types import Receive, Scope, Send

from posterion.api.backend import (
    Health,
    ModelCard,
    ModelIdentity,
    PredictReply,
    Timing,
    VersionInfo,
)
from posterion.api.stepper import StepReply, StepsRequest
from posterion.errors import UnknownModel
from posterion.observability.metrics import ServiceMetrics
from posterion.serving.settings import ServeSettings
from posterion.structures.evaluation import EvaluationOptions, Priority
from posterion.structures.prediction import FloatArray, Prediction, Uncertainty
from posterion.structures.structure import Structure

if TYPE_CHECKING:
    from ray.serve import Application

Kind = Literal["floor", "in-process", "ray"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
REPLY_BYTES: Final = b"x-reply-bytes"

_MODEL: Final = ModelIdentity(
    name="null",
    version="0" * 16,
    digest=f"sha256:{'0' * 64}",
    n_samples=8,
    engine="null",
    engine_deviation=0.0,
)
_NO_TIME: Final = Timing(queue_ms=0.0, graph_ms=0.0, evaluate_ms=0.0)
_READY: Final = Health(ok=True, detail="it has nothing to load")


class NullStepper:
    """Answers zeros for every step."""

    model = _MODEL

    async def step(
        self,
        positions: FloatArray,
        cells: FloatArray | None,  # noqa: ARG002 - of the protocol
        *,
        deadline_s: float | None,  # noqa: ARG002
    ) -> StepReply:
        """Zeros for every image."""
        n_images, n_atoms, _ = positions.shape
        return StepReply(results=(_zeros(n_atoms),) * n_images, timing=_NO_TIME, n_rebuilds=0)


class NullBackend:
    """Answers zeros for every structure, without looking at it."""

    def default_model(self) -> str:
        """The only model."""
        return _MODEL.name

    def models(self) -> Sequence[ModelCard]:
        """No card: there is nothing to know."""
        return ()

    def versions(self, name: str) -> Sequence[VersionInfo]:  # noqa: ARG002 - of the protocol
        """No version was published."""
        return ()

    def card(self, name: str, version: str | None) -> ModelCard:
        """There is none.

        Raises:
            UnknownModel: Always: no version was published.
        """
        raise UnknownModel(f"the null model has no card: nothing is published as {name} {version}")

    def identity(self, name: str, version: str | None) -> ModelIdentity:  # noqa: ARG002 - likewise
        """The only version, whatever is asked for."""
        return _MODEL

    async def predict(
        self,
        name: str,  # noqa: ARG002 - of the protocol
        version: str | None,  # noqa: ARG002
        structures: Sequence[Structure],
        options: EvaluationOptions,  # noqa: ARG002
        *,
        deadline_s: float | None,  # noqa: ARG002
        priority: Priority = "interactive",  # noqa: ARG002
    ) -> PredictReply:
        """Zeros for every structure."""
        return PredictReply(
            model=_MODEL,
            results=tuple(_zeros(structure.n_atoms) for structure in structures),
            timing=_NO_TIME,
        )

    async def open_steps(
        self,
        name: str,  # noqa: ARG002 - of the protocol
        version: str | None,  # noqa: ARG002
        request: StepsRequest,  # noqa: ARG002
    ) -> NullStepper:
        """What answers zeros."""
        return NullStepper()

    def on_drain(self, notify: Callable[[], None]) -> None:
        """Sessions end with the process."""

    def live(self) -> Health:
        """Always."""
        return _READY

    def ready(self) -> Health:
        """Always."""
        return _READY

    async def startup(self) -> None:
        """Nothing to start."""

    async def shutdown(self) -> None:
        """Nothing to stop."""

    def describe(self) -> tuple[str, ...]:
        """One line."""
        return ("null: answers zeros",)

    def refuse_new(self) -> None:
        """Nothing waits here."""

    async def drain(self) -> None:
        """Nothing waits here."""


def _zeros(n_atoms: int) -> Prediction:
    return Prediction(
        energy=0.0,
        forces=np.zeros((n_atoms, 3)),
        stress=None,
        uncertainty=Uncertainty(
            calibrated=True,
            energy_epistemic=0.0,
            energy_aleatoric=0.0,
            forces_epistemic=np.zeros((n_atoms, 3)),
            forces_aleatoric=np.zeros(n_atoms),
        ),
        flags=(),
        n_samples=_MODEL.n_samples,
    )


async def floor(scope: Scope, receive: Receive, send: Send) -> None:
    """The least an ASGI application can do with a request."""
    n_bytes = int(dict(scope["headers"]).get(REPLY_BYTES, 0))
    while (await receive()).get("more_body"):
        pass
    length = str(n_bytes).encode()
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]}
    await send(start)
    await send({"type": "http.response.body", "body": bytes(n_bytes)})


def build(args: ServeSettings) -> "Application":
    """Build the Ray Serve application: the product's replica over the null backend."""
    from benchmarks.null_replica import NullReplica  # noqa: PLC0415 - imports ray
    from posterion.serving.app import deployed  # noqa: PLC0415 - imports ray

    return deployed(NullReplica, args)


def serve(kind: Kind, settings: ServeSettings) -> int:
    """Serve until a signal ends it.

    Args:
        kind: What to serve.
        settings: Where.

    Returns:
        Exit status.
    """
    if kind == "floor":
        uvicorn.run(
            floor,
            host=settings.host,
            port=settings.port,
            lifespan="off",
            log_config=None,
            ws="none",
        )
        return 0
    if kind == "in-process":
        from posterion.serving.single_process import serve_backend  # noqa: PLC0415 - imports torch

        return serve_backend(settings, NullBackend(), ServiceMetrics())
    from posterion.serving.local_cluster import serve_on_ray  # noqa: PLC0415 - never in one process

    return serve_on_ray(settings, application="benchmarks.null_service:build")


def main() -> int:
    """Serve what the arguments say."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.null_service",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--port", type=int, required=True, help="a free port on loopback")
    given = parser.parse_args()
    return serve(given.kind, ServeSettings(port=given.port, device="cpu"))


if __name__ == "__main__":
    sys.exit(main())
