"""Calls an ASGI application in this process, without a server, from synchronous tests."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import msgpack
import numpy as np
from starlette.types import ASGIApp

JSON = "application/json"
MSGPACK = "application/vnd.msgpack"
PREDICT = "/v1/predict"

Done = TypeVar("Done")


class AsgiCaller:
    """One event loop and one HTTP client for many requests."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._runner = asyncio.Runner()
        transport = httpx.ASGITransport(app)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://posterion.test")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.run(self.client.aclose())
        self._runner.close()

    def run(self, work: Coroutine[Any, Any, Done]) -> Done:
        """Run a coroutine on the caller's loop."""
        return self._runner.run(work)

    def get(self, path: str, **headers: str) -> httpx.Response:
        """GET a path; ``if_match=...`` becomes the header ``If-Match``."""
        return self.run(self.client.get(path, headers=_headers(headers)))

    def post(
        self, body: bytes, path: str = PREDICT, *, content_type: str = JSON, **headers: str
    ) -> httpx.Response:
        """POST some bytes."""
        all_headers = {"Content-Type": content_type, **_headers(headers)}
        return self.run(self.client.post(path, content=body, headers=all_headers))

    def predict(self, document: object, path: str = PREDICT, **headers: str) -> httpx.Response:
        """POST a JSON document."""
        request = self.client.post(path, json=document, headers=_headers(headers))
        return self.run(request)

    def predict_msgpack(self, document: object, **headers: str) -> httpx.Response:
        """POST a MessagePack document; arrays travel raw."""
        body = msgpack.packb(document, default=raw)
        return self.post(body, content_type=MSGPACK, **headers)


def raw(array: object) -> dict[str, object]:
    """An array as it travels in MessagePack."""
    assert isinstance(array, np.ndarray)
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": array.tobytes()}


def read_msgpack(body: bytes) -> Any:  # noqa: ANN401 - a document may be anything
    """A MessagePack document with its raw arrays as numpy arrays."""
    return msgpack.unpackb(body, object_hook=_unraw)


def _unraw(node: dict[str, Any]) -> object:
    if node.keys() != {"dtype", "shape", "data"}:
        return node
    return np.frombuffer(node["data"], dtype=node["dtype"]).reshape(node["shape"])


def _headers(named: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in named.items()}
