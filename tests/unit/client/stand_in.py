"""A service small enough to read: it answers the REST contract from memory.

Energies are those of springs to the origin, so that forces and stress can be stated in a
test without running a network. What it was asked is kept for inspection.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgpack
import numpy as np
from numpy.typing import NDArray

DIGEST = "sha256:" + "4b1f0c2d9a7e6f31" * 4
OTHER_DIGEST = "sha256:" + "9" * 64
STIFFNESS = 0.3  # eV/Angstrom^2
FLAG = {
    "code": "force-epistemic-high",
    "severity": "candidate",
    "atoms": [1],
    "metric": "force_epistemic_max",
    "value": 0.212,
    "threshold": 0.15,
    "unit": "eV/angstrom",
    "threshold_source": "calibration",
    "coverage": 0.95,
    "calibration_id": "sha256:" + "c" * 64,
}
CARD: dict[str, Any] = {
    "name": "ethanol",
    "version": DIGEST[7:23],
    "digest": DIGEST,
    "description": "Ethanol in the gas phase.",
    "elements": [1, 6, 8],
    "cutoff": 5.0,
    "periodic": True,
    "n_samples": 8,
    "metrics": {"force_mae": 0.014},
}


@dataclass
class StandIn:
    """Answers requests; scripted answers come first.

    Attributes:
        script: Answers, or failures of the network, given before any prediction.
        digest: Sample set it claims to serve.
        change: Applied to each reply document before it is written.
        seen: Every request, in order.
    """

    script: list[httpx.Response | Exception] = field(default_factory=list)
    digest: str = DIGEST
    periodic: bool = True
    change: Callable[[dict[str, Any]], None] | None = None
    seen: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        self.seen.append(request)
        if self.script:
            scripted = self.script.pop(0)
            if isinstance(scripted, Exception):
                raise scripted
            return scripted
        if request.method == "GET":
            return self._catalog(request)
        pinned = request.headers.get("if-match")
        if pinned not in (None, f'"{self.digest}"'):
            return problem(412, "version-moved", detail="another version is served now")
        return self._predict(request)

    @property
    def transport(self) -> httpx.MockTransport:
        """Connects a client, blocking or not, to this service."""
        return httpx.MockTransport(self)

    def documents(self) -> list[dict[str, Any]]:
        """The decoded bodies of every predict request."""
        return [read_body(request) for request in self.seen if request.method == "POST"]

    def _predict(self, request: httpx.Request) -> httpx.Response:
        asked = read_body(request)
        document: dict[str, Any] = {
            "model": {
                "name": "ethanol",
                "version": self.digest[7:23],
                "digest": self.digest,
                "n_samples": 2,
                "engine": "reference",
                "engine_deviation": 0.0,
            },
            "units": {"length": "angstrom", "energy": "eV"},
            "results": [
                result(str(index), structure, asked)
                for index, structure in enumerate(asked["structures"])
            ],
            "timing_ms": {"queue": 1.25, "graph": 0.5, "evaluate": 9.75, "total": 12.0},
        }
        if self.change is not None:
            self.change(document)
        headers = {
            "content-type": request.headers["accept"].partition(",")[0],
            "etag": f'"{self.digest}"',
            "x-request-id": request.headers["x-request-id"],
        }
        return httpx.Response(200, headers=headers, content=write_body(document, headers))

    def _catalog(self, request: httpx.Request) -> httpx.Response:
        card = {**CARD, "periodic": self.periodic}
        version = {
            "version": CARD["version"],
            "digest": DIGEST,
            "created_at": "2026-01-02T03:04:05Z",
            "aliases": ["stable"],
        }
        answers: dict[str, Any] = {
            "/v1": {"default_model": "ethanol", "limits": {"atoms_per_structure": 100000}},
            "/v1/models": {"models": [card]},
            "/v1/models/ethanol": card,
            "/v1/models/ethanol/versions": {"versions": [version]},
            "/v1/models/ethanol/versions/stable": card,
            "/readyz": {"ok": True},
        }
        if request.url.path not in answers:
            return problem(404, "unknown-model", detail="no such model")
        return httpx.Response(200, json=answers[request.url.path])


@dataclass
class Pace:
    """Time that passes only when somebody sleeps, and chance that is settled beforehand."""

    time_s: float = 1000.0
    chance: float = 0.0
    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.time_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time_s += seconds

    def random(self) -> float:
        return self.chance


class AsyncPace(Pace):
    """The same for an event loop."""

    async def sleep(self, seconds: float) -> None:  # type: ignore[override] # another protocol
        await asyncio.sleep(0)
        super().sleep(seconds)


def result(identifier: str, structure: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """The answer for one structure."""
    positions = np.asarray(structure["positions"], dtype=np.float64)
    if 92 in structure["numbers"]:
        return failed(identifier, "unsupported-element", 422)
    wants = set(asked["outputs"])
    stress = None
    if "stress" in wants and all(structure["pbc"]):
        stress = np.arange(9.0).reshape(3, 3)
        stress = (stress + stress.T) / 200
    flags = [FLAG] if np.abs(positions).max() > 100 else []
    return {
        "id": identifier,
        "status": "flagged" if flags else "ok",
        "energy": float(0.5 * STIFFNESS * np.sum(positions**2)),
        "forces": -STIFFNESS * positions,
        "stress": stress,
        "uncertainty": _uncertainty(positions, asked) if "uncertainty" in wants else None,
        **(
            {"uncertainty_gradient": _gradient(positions, structure, asked)}
            if "uncertainty_gradient" in wants
            else {}
        ),
        "flags": flags,
        "error": None,
    }


def failed(identifier: str, code: str, status: int) -> dict[str, Any]:
    """The result of a structure that was refused."""
    fields = ("energy", "forces", "stress", "uncertainty", "flags")
    error = {
        "type": f"urn:posterion:problem:{code}",
        "title": code,
        "status": status,
        "detail": f"refused as {code}",
        "code": code,
        "errors": [{"pointer": f"/structures/{identifier}/numbers/0", "detail": "not this one"}],
        "retryable": False,
    }
    return {"id": identifier, "status": "error", **dict.fromkeys(fields), "error": error}


def problem(
    status: int, code: str, *, detail: str = "as told", headers: dict[str, str] | None = None
) -> httpx.Response:
    """A problem document of the contract."""
    document = {
        "type": f"urn:posterion:problem:{code}",
        "title": code,
        "status": status,
        "detail": detail,
        "instance": "urn:request:abc",
        "code": code,
        "errors": [{"pointer": "/structures/3/positions/0/1", "detail": "not a number"}],
        "retryable": status in (429, 503, 504),
    }
    media = {"content-type": "application/problem+json", "x-request-id": "abc"}
    return httpx.Response(
        status, content=json.dumps(document), headers={**media, **(headers or {})}
    )


def read_body(request: httpx.Request) -> dict[str, Any]:
    """Decode a request; raw arrays become numpy arrays."""
    if request.headers["content-type"] == "application/json":
        document: dict[str, Any] = json.loads(request.content)
        return document
    unpacked: dict[str, Any] = msgpack.unpackb(request.content, object_hook=_from_raw)
    return unpacked


def write_body(document: object, headers: dict[str, str]) -> bytes:
    """Encode a reply as its content type says."""
    if headers["content-type"] == "application/json":
        return json.dumps(document, default=lambda array: array.tolist()).encode()
    packed: bytes = msgpack.packb(document, default=_to_raw)
    return packed


def _from_raw(fields: dict[str, Any]) -> object:
    if fields.keys() != {"dtype", "shape", "data"}:
        return fields
    return np.frombuffer(fields["data"], dtype=fields["dtype"]).reshape(fields["shape"])


def _to_raw(array: NDArray[np.float64]) -> dict[str, Any]:
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": array.tobytes()}


def _uncertainty(positions: NDArray[np.float64], asked: dict[str, Any]) -> dict[str, Any]:
    epistemic = 0.01 + 0.001 * np.abs(positions)
    aleatoric = np.full(len(positions), 0.02)
    per_atom = np.sqrt((epistemic**2).mean(axis=1))
    return {
        "kind": "std",
        "calibrated": True,
        "energy": {"epistemic": 0.003, "aleatoric": 0.004, "total": 0.005},
        "forces": {
            "epistemic": epistemic,
            "aleatoric": aleatoric,
            "total": np.hypot(epistemic, aleatoric[:, None]),
            "max": float(per_atom.max()),
            "rms": float(np.sqrt((epistemic**2).mean())),
            "argmax_atom": int(per_atom.argmax()),
        },
        "samples": _samples(positions, asked["uncertainty"]["samples"]),
    }


def _gradient(
    positions: NDArray[np.float64], structure: dict[str, Any], asked: dict[str, Any]
) -> dict[str, Any]:
    return {
        "of": asked["uncertainty"]["gradient_of"],
        "value": 0.25,
        "unit": "eV/angstrom",
        "positions": 0.01 * positions,
        "cell": np.arange(9.0).reshape(3, 3) if all(structure["pbc"]) else None,
    }


def _samples(positions: NDArray[np.float64], detail: str) -> dict[str, Any] | None:
    if detail == "none":
        return None
    scales: Sequence[float] = (0.9, 1.1)
    forces = np.stack([-STIFFNESS * scale * positions for scale in scales])
    energies = np.array([0.5 * STIFFNESS * scale * np.sum(positions**2) for scale in scales])
    return {"energies": energies, "forces": forces if detail == "full" else None, "stress": None}
