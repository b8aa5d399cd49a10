"""A replica of Ray Serve with the product's batcher in front of a synthetic device."""

from fastapi import FastAPI
from ray import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.synthetic_load import SyntheticDevice
from posterion.serving.batcher import Batcher
from posterion.serving.formation import Cost
from posterion.serving.work import BatcherLimits, Work

ONE = Cost(edges=72, atoms=9)


@serve.ingress()
class SyntheticReplica:
    """Answers every POST when its structure has been evaluated."""

    def __init__(self, largest_batch: int) -> None:
        """Prepare.

        Args:
            largest_batch: Structures in a batch.
        """
        bounds = Cost(edges=largest_batch * ONE.edges, atoms=largest_batch * ONE.atoms)
        self._batcher: Batcher[str, int, int] = Batcher(
            SyntheticDevice(), BatcherLimits(bounds=bounds)
        )
        self._started = False

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Build the app that this replica answers HTTP with."""
        app = FastAPI(openapi_url=None)
        app.mount("/", Starlette(routes=[Route("/{rest:path}", self._answer, methods=["POST"])]))
        return app

    async def _answer(self, _request: Request) -> Response:
        if not self._started:
            self._started = True
            self._batcher.start()
        with self._batcher.admission(1):
            await self._batcher.submit("bank", [Work(item=1, cost=ONE)])
        return Response(b"done")
