"""What does everything but the engine cost a request?

    python -m benchmarks.latency [--stage STAGE ...]
    python -m benchmarks.latency --quick

Services run as processes of their own on free loopback ports; one client asks one request after
the other over a kept connection. Contenders take turns within every round. Stages:

- in-process: a model that answers zeros at once, mounted in the product's own app under
  uvicorn, against the floor: an ASGI function under the same uvicorn that answers as many bytes;
- ray: the same model in the product's own Ray Serve deployment behind HAProxy;
- batch: the bundled ethanol bank, 1 and 16 structures in one request: the whole request against
  the time the service says its device took (collating, reducing and flags included), and
  against the engine alone, measured here, in the same rounds.

Read ``results/latency/STAGE.json``: p50 and p99 over all requests in milliseconds, and the
median over rounds of the ratio to the floor. ``client library`` is posterion_client.Client,
``MDSession`` its session for MD codes, ``C client`` the library of clients/c; all others write
a prepared request to a socket.
``--quick`` proves that it runs, and writes nothing.
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgpack
import numpy as np
import torch
from pydantic import JsonValue

from benchmarks.latency_cases import (
    Contender,
    ethanol,
    null_contenders,
    request_of,
    table,
    take_turns,
)
from benchmarks.null_service import Kind
from benchmarks.raw_client import RawConnection
from benchmarks.stamp import write_result
from posterion.demo.service import HOST, RunningService, running_command, running_service
from posterion.graph.batch import collate
from posterion.inference.fused.engine import FusedEngine
from posterion.inference.loading import load_bank
from posterion.inference.predictor import Predictor
from posterion.serving.ports import free_ports
from posterion.serving.processes import descendants
from posterion.serving.settings import ServeSettings
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.structure import Structure
from posterion_client import Client
from posterion_store import Store
from posterion_store.names import DEFAULT_ALIAS

PACKAGES: Final = ("posterion", "uvicorn", "fastapi", "ray", "torch")
RESULTS: Final = Path(__file__).parent / "results" / "latency"
STAGES: Final = ("in-process", "ray", "batch")
SIZES: Final = (9, 192, 256, 600, 2000)
QUICK_SIZES: Final = (9,)
BANK: Final = "ethanol"
BATCHES: Final = (1, 16)


@contextlib.contextmanager
def running_null(kind: Kind) -> Iterator[int]:
    """Run a null service, or the floor, on a free port inside the ``with`` block."""
    (port,) = free_ports(1, HOST)
    command = [sys.executable, "-m", "benchmarks.null_service", kind, "--port", str(port)]
    with running_command(command, url=f"http://{HOST}:{port}"):
        yield port


def null_stage(
    kind: Kind, *, sizes: Sequence[int], n_rounds: int, n_each: int
) -> dict[str, JsonValue]:
    """The null model against the floor.

    Args:
        kind: How the null service runs.
        sizes: Atoms of the structures.
        n_rounds: Rounds.
        n_each: Requests of each contender in a round.
    """
    with (
        running_null("floor") as floor_port,
        running_null(kind) as port,
        null_contenders(floor_port=floor_port, port=port, sizes=sizes, where=kind) as contenders,
    ):
        return table(contenders, take_turns(contenders, n_rounds=n_rounds, n_each=n_each))


def batch_stage(*, batches: Sequence[int], n_rounds: int, n_each: int) -> dict[str, JsonValue]:
    """The bundled bank: how much of a request is its engine's."""
    store = ServeSettings().store
    with running_service(store=None, banks=(BANK,), in_process=True) as service:
        return {
            f"{n_structures} ethanol": _one_batch(
                service, _predictor(store), n_structures, n_rounds=n_rounds, n_each=n_each
            )
            for n_structures in batches
        }


def _one_batch(
    service: RunningService, predictor: Predictor, n_structures: int, *, n_rounds: int, n_each: int
) -> dict[str, JsonValue]:
    asked = [ethanol(seed) for seed in range(n_structures)]
    bank = predictor.bank
    engine = FusedEngine(bank.config, bank.reference, bank.parameters)
    graphs = [
        predictor.prepare(Structure(atomic_numbers=one.numbers, positions=one.positions))
        for one in asked
    ]
    batch = collate(graphs, dtype=engine.dtype, device="cpu")
    port = int(service.url.rpartition(":")[2])
    documents: list[dict[str, dict[str, float]]] = []
    with contextlib.closing(RawConnection(port)) as raw, Client(service.url) as client:
        request = request_of(asked, "msgpack", port=port)

        def ask() -> None:
            documents.append(msgpack.unpackb(raw.exchange(request)))

        contenders = {
            "engine": Contender(lambda: engine.evaluate(batch, n_samples=None, stress=False)),
            "evaluation": Contender(lambda: predictor.evaluate(graphs, EvaluationOptions())),
            "request": Contender(ask, floor="engine"),
            "client library": Contender(lambda: client.predict_many(asked), floor="engine"),
        }
        times = take_turns(contenders, n_rounds=n_rounds, n_each=n_each)
        begun = _cpu_s(service.process.pid)
        for _ in range(n_rounds * n_each):
            raw.exchange(request)
        cpu_ms = 1e3 * (_cpu_s(service.process.pid) - begun) / (n_rounds * n_each)
    told = {
        name: float(np.median([one["timing_ms"][name] for one in documents[n_each:]]))
        for name in ("queue", "graph", "evaluate", "total")
    }
    by_round = np.median(times["request"], axis=1)
    engine_ms = np.median(times["engine"], axis=1)
    rows = dict(table(contenders, times).items())
    return {
        **rows,
        "timing_ms": dict(told),
        "server_processor_ms_per_request": cpu_ms,
        "share_beyond_the_engine": float(np.median(1.0 - engine_ms / by_round)),
        "share_beyond_the_device": float(1.0 - told["evaluate"] / np.median(times["request"])),
    }


def _predictor(path: str) -> Predictor:
    store = Store.open(path, read_only=True)
    bank = load_bank(store, BANK, store.resolve(BANK, DEFAULT_ALIAS), device="cpu")
    return Predictor(bank, device="cpu", n_threads=1)


def _cpu_s(pid: int) -> float:
    """Processor time that a process and its descendants have used, seconds."""
    ticks = 0
    for each in (pid, *descendants(pid)):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measured(stage: str, *, quick: bool) -> dict[str, JsonValue]:
    """Run one stage.

    Args:
        stage: One of `STAGES`.
        quick: Few requests.
    """
    n_rounds, n_each = (2, 3) if quick else (16, 20)
    if stage == "batch":
        return batch_stage(batches=BATCHES, n_rounds=n_rounds, n_each=min(n_each, 10))
    return null_stage(
        "ray" if stage == "ray" else "in-process",
        sizes=QUICK_SIZES if quick else SIZES,
        n_rounds=n_rounds,
        n_each=n_each,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.latency",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--stage", action="append", choices=STAGES, help="default: all")
    parser.add_argument("--quick", action="store_true", help="few requests, in-process only")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    return parser.parse_args()


def main() -> int:
    """Measure, print, write."""
    given = _arguments()
    torch.set_num_threads(1)
    for stage in given.stage or (("in-process",) if given.quick else STAGES):
        load = list(os.getloadavg())
        rows = measured(stage, quick=given.quick)
        for name, row in rows.items():
            print(f"{name}: {json.dumps(row)}", flush=True)
        if given.quick:
            continue
        found: dict[str, JsonValue] = {"stage": stage, "rows": rows, "load_average": [*load]}
        write_result(given.results / f"{stage}.json", found, packages=PACKAGES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
