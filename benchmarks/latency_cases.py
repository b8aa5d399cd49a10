"""Which structures are asked about, over which connection, and how the time is taken."""

import contextlib
import ctypes
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import ase.build
import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from benchmarks.c_client import CSession, shared_library
from benchmarks.null_service import REPLY_BYTES
from benchmarks.raw_client import RawConnection, request_bytes
from benchmarks.raw_session import FRAME_MEDIA_TYPE, RawSession, request_frame
from posterion_client import Client, PredictOptions, Structure
from posterion_client._encoding import MEDIA_TYPES, Encoding
from posterion_client._request import predict_body
from posterion_client.md import MDSession, Transport
from posterion_client.selftest._native import Build

ENCODINGS: Final[tuple[Encoding, ...]] = ("msgpack", "json")
TRANSPORTS: Final[tuple[Transport, ...]] = ("websocket", "http")
SPACING: Final = 2.2
"""Distance of neighbouring atoms on the grid, Angstrom."""


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that takes turns.

    Attributes:
        exchange: Asks once and waits for the answer.
        floor: Name of the contender it is compared with; None = it is a floor itself.
    """

    exchange: Callable[[], object]
    floor: str | None = None


def ethanol(seed: int) -> Structure:
    """Ethanol, shaken."""
    atoms = ase.build.molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=seed)
    return Structure.from_ase(atoms)


def grid(n_atoms: int) -> Structure:
    """A shaken periodic grid of carbon atoms; the null model takes any structure."""
    n = int(np.ceil(n_atoms ** (1 / 3)))
    points = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    shaken = np.random.default_rng(0).normal(0.0, 0.05, (n_atoms, 3))
    return Structure(
        numbers=np.full(n_atoms, 6),
        positions=SPACING * points[:n_atoms] + shaken,
        cell=SPACING * n * np.eye(3),
        pbc=True,
    )


def structure_of(n_atoms: int) -> Structure:
    """Ethanol has nine atoms; everything else is a grid."""
    return ethanol(0) if n_atoms == len(ethanol(0).numbers) else grid(n_atoms)


def request_of(
    structures: Sequence[Structure], encoding: Encoding, *, port: int, n_reply: int | None = None
) -> bytes:
    """The request that the client's library would send, byte for byte but for its headers.

    Args:
        structures: What is asked about.
        encoding: Of request and reply.
        port: Of the service.
        n_reply: Bytes that the floor is to answer; None asks a service.
    """
    media_type = MEDIA_TYPES[encoding]
    body = predict_body(structures, PredictOptions(), encoding)
    return _posted(body, media_type, port=port, n_reply=n_reply)


def _posted(body: bytes, media_type: str, *, port: int, n_reply: int | None = None) -> bytes:
    headers = {"content-type": media_type, "accept": media_type}
    if n_reply is not None:
        headers[REPLY_BYTES.decode()] = str(n_reply)
    return request_bytes("/v1/predict", body, port=port, headers=headers)


@contextlib.contextmanager
def null_contenders(
    *, floor_port: int, port: int, sizes: Sequence[int], where: str
) -> Iterator[dict[str, Contender]]:
    """The floor, the null model over a raw connection, and through the client's library.

    Args:
        floor_port: Of the floor.
        port: Of the null service.
        sizes: Atoms of the structures.
        where: How the null service runs; part of the names.
    """
    found: dict[str, Contender] = {}
    build = Build("c")
    library = compiled_library(build)
    with contextlib.ExitStack() as stack:
        floor = stack.enter_context(contextlib.closing(RawConnection(floor_port)))
        raw = stack.enter_context(contextlib.closing(RawConnection(port)))
        for encoding in ENCODINGS:
            url = f"http://127.0.0.1:{port}"
            client = stack.enter_context(Client(url, encoding=encoding))
            for n_atoms in sizes:
                structure = structure_of(n_atoms)
                asked = request_of([structure], encoding, port=port)
                n_reply = len(raw.exchange(asked))
                least = request_of([structure], encoding, port=floor_port, n_reply=n_reply)
                name = f"{encoding} {n_atoms}"
                found[f"floor {name}"] = Contender(_bound(floor.exchange, least))
                found[f"{where} {name}"] = Contender(
                    _bound(raw.exchange, asked), floor=f"floor {name}"
                )
                found[f"{where}, client library {name}"] = Contender(
                    _bound(client.predict, structure), floor=f"floor {name}"
                )
        for n_atoms in sizes:
            structure = structure_of(n_atoms)
            frame = _posted(request_frame(structure), FRAME_MEDIA_TYPE, port=port)
            session = stack.enter_context(contextlib.closing(RawSession(port, structure)))
            floor_name = f"floor msgpack {n_atoms}"
            found[f"{where} frame {n_atoms}"] = Contender(_bound(raw.exchange, frame), floor_name)
            found[f"{where} session {n_atoms}"] = Contender(session.step, floor_name)
            for transport in TRANSPORTS:
                run = stack.enter_context(
                    MDSession(
                        structure.numbers,
                        url=f"http://127.0.0.1:{port}",
                        pbc=structure.pbc,
                        stress=False,
                        transport=transport,
                    )
                )
                found[f"{where}, MDSession over {transport} {n_atoms}"] = Contender(
                    _moving(run, structure), floor_name
                )
                if library is None:
                    continue
                compiled = stack.enter_context(
                    contextlib.closing(
                        CSession(library, f"http://127.0.0.1:{port}", structure, transport)
                    )
                )
                found[f"{where}, C client over {transport} {n_atoms}"] = Contender(
                    compiled.step, floor_name
                )
        yield found


def compiled_library(build: Build) -> ctypes.CDLL | None:
    """The library of clients/c; None, with a warning, where it does not compile."""
    try:
        return shared_library(build)
    except RuntimeError as error:
        print(f"no C client here: {error}", file=sys.stderr)
        return None


def _moving(session: MDSession, structure: Structure) -> Callable[[], object]:
    """Asks about other positions every time, since a session remembers the last ones."""
    positions = structure.positions.copy()

    def step() -> object:
        positions[0, 0] += 1e-6
        return session.evaluate(positions, structure.cell)

    return step


def _bound(call: Callable[..., object], asked: object) -> Callable[[], object]:
    return lambda: call(asked)


def take_turns(
    contenders: Mapping[str, Contender], *, n_rounds: int, n_each: int
) -> dict[str, NDArray[np.float64]]:
    """Milliseconds of every request, shape ``(n_rounds, n_each)``, after a round to warm up.

    The first request of a turn is not timed: others had the caches, and sessions may have closed.
    """
    times = {name: np.empty((n_rounds, n_each)) for name in contenders}
    for contender in contenders.values():
        for _ in range(n_each):
            contender.exchange()
    for index in range(n_rounds):
        for name, contender in contenders.items():
            contender.exchange()
            for turn in range(n_each):
                begun = time.perf_counter()
                contender.exchange()
                times[name][index, turn] = 1e3 * (time.perf_counter() - begun)
    return times


def table(
    contenders: Mapping[str, Contender], times: Mapping[str, NDArray[np.float64]]
) -> dict[str, JsonValue]:
    """Median and 99th percentile, and the median over rounds of the ratio to the floor."""
    rows: dict[str, JsonValue] = {}
    for name, contender in contenders.items():
        row: dict[str, JsonValue] = {
            "p50_ms": _digits(np.median(times[name])),
            "p99_ms": _digits(np.quantile(times[name], 0.99)),
        }
        if contender.floor is not None:
            ratios = np.median(times[name], axis=1) / np.median(times[contender.floor], axis=1)
            row["of_the_floor"] = _digits(np.median(ratios))
        rows[name] = row
    return rows


def _digits(value: float) -> float:
    return float(f"{value:.4g}")
