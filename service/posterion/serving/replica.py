"""What one replica of the Ray Serve deployment is: the same app and backend as anywhere."""

import os

from fastapi import FastAPI
from ray import serve

from posterion.api.app import create_app
from posterion.errors import InternalError
from posterion.observability.logging import configure_logging
from posterion.observability.metrics import ServiceMetrics
from posterion.serving.metrics import BatchMetrics
from posterion.serving.ray_environment import require_token_mode
from posterion.serving.served import ServedBackend
from posterion.serving.settings import ServeSettings


@serve.ingress()
class Replica:
    """One copy of the banks behind one copy of the app.

    Ray Serve calls ``check_health`` and replaces a replica that fails it three times.
    """

    def __init__(self, settings: ServeSettings) -> None:
        """Prepare; the app's lifespan loads the banks before the replica takes requests.

        Args:
            settings: The service.

        Raises:
            ConfigurationError: If the cluster does not ask for a token.
        """
        require_token_mode(os.environ)
        configure_logging()
        self._settings = settings
        self._metrics = ServiceMetrics()
        self._backend = self._open(settings, BatchMetrics(self._metrics.registry))

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Build the app that this replica answers HTTP with."""
        return create_app(self._settings.api, self._backend, metrics=self._metrics)

    async def check_health(self) -> None:
        """Fail if the device makes no progress.

        Raises:
            InternalError: If so.
        """
        health = self._backend.live()
        if not health.ok:
            raise InternalError(health.detail)

    async def describe(self) -> tuple[str, ...]:
        """Say in a line each what is served."""
        return self._backend.describe()

    async def drain(self) -> None:
        """Refuse new requests and return when the running ones are answered."""
        await self._backend.drain()

    def _open(self, settings: ServeSettings, metrics: BatchMetrics) -> ServedBackend:
        """Open the store; only a replica pays for importing torch, not who deploys it."""
        from posterion.serving.in_process import InProcessBackend  # noqa: PLC0415

        return InProcessBackend(settings, metrics)
