"""What does a bank of K networks cost, against the networks of other packages?

    python -m benchmarks.bank_peers --data DIR --nequip PYTHON --mace PYTHON [--case NAME]

PYTHON is the interpreter of an environment that has the peer: ``nequip`` shares this one's
e3nn, ``mace-torch`` pins an older one. Each peer is a process of its own, in float32 with one
thread, on the same core as the product's engine; contenders take turns within every round,
one at a time, and what is reported are medians over rounds of ratios of processor time.

- fused: the product's engine, K networks;
- nequip: ONE network of the same size, eager; nequip-compiled: by its ``compile`` mode
  (minutes per case; it falls back to eager for a single structure);
- mace: ONE network with the case's channels and its usual shape otherwise.

A committee of any of them is a loop, K times one; none evaluates K networks at once.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from pydantic import JsonValue

from benchmarks.bank_engine import N_ROUNDS, PACKAGES, RESULTS, SECONDS_PER_CASE, quartiles
from benchmarks.engine_cases import CASES, CUTOFF, Case, Prepared, frames, prepare
from benchmarks.stamp import write_result
from posterion.graph.batch import build_graph
from posterion.inference.fused.engine import FusedEngine
from posterion.structures.ase_io import structure_from_atoms

WORKER: Final = Path(__file__).with_name("peer_worker.py")
DEFAULT_CASES: Final = ("1 ethanol", "16 ethanol", "16 aspirin, small", "16 aspirin")


class Peer:
    """One network in a process of its own."""

    def __init__(self, python: Path, name: str, mode: str, arrays: Path) -> None:
        """Start the process and wait until its network has answered once.

        Args:
            python: Interpreter that has the package.
            name: ``nequip`` or ``mace``.
            mode: ``eager`` or ``compile``.
            arrays: What `write_arrays` wrote.

        Raises:
            SystemExit: If the process ends before it is ready.
        """
        self._process = subprocess.Popen(
            [python, WORKER, name, mode, arrays],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.versions: dict[str, JsonValue] = json.loads(self._answer())

    def seconds(self) -> float:
        """Processor time of one evaluation."""
        assert self._process.stdin is not None
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        return float(self._answer())

    def close(self) -> None:
        """End the process; one that is still compiling is killed."""
        try:
            self._process.communicate(timeout=30.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.close()
            raise SystemExit(f"{self._process.args!r} ended: see what it says above")
        return line


def write_arrays(case: Case, data: Path | None, path: Path) -> None:
    """Write the batch of a case as arrays that need no package to be read."""
    graphs = [build_graph(structure_from_atoms(each), CUTOFF) for each in frames(case, data)]
    sizes = [graph.n_atoms for graph in graphs]
    offsets = np.cumsum([0, *sizes[:-1]])
    cells = [np.eye(3) if g.structure.cell is None else g.structure.cell for g in graphs]
    unit_shifts = [
        np.rint(graph.shifts @ np.linalg.inv(cell))
        for graph, cell in zip(graphs, cells, strict=True)
    ]
    np.savez(
        path,
        numbers=np.concatenate([graph.structure.atomic_numbers for graph in graphs]),
        positions=np.concatenate([g.structure.positions for g in graphs]).astype(np.float32),
        edge_index=np.concatenate(
            [graph.edge_index + start for graph, start in zip(graphs, offsets, strict=True)], axis=1
        ),
        shifts=np.concatenate([graph.shifts for graph in graphs]).astype(np.float32),
        unit_shifts=np.concatenate(unit_shifts).astype(np.float32),
        structure_index=np.repeat(np.arange(len(graphs)), sizes),
        cell=np.stack(cells).astype(np.float32),
        n_features=np.array(case.size["n_features"]),
        l_max=np.array(case.size["l_max"]),
    )


@contextlib.contextmanager
def peers(given: argparse.Namespace, arrays: Path) -> Iterator[dict[str, Peer]]:
    """The processes of one case, ended with the block."""
    started: dict[str, Peer] = {}
    try:
        if given.nequip:
            started["nequip"] = Peer(given.nequip, "nequip", "eager", arrays)
        if given.nequip and not given.eager_only:
            started["nequip-compiled"] = Peer(given.nequip, "nequip", "compile", arrays)
        if given.mace:
            started["mace"] = Peer(given.mace, "mace", "eager", arrays)
        yield started
    finally:
        for peer in started.values():
            peer.close()


def measured(prepared: Prepared, others: Mapping[str, Peer]) -> dict[str, JsonValue]:
    """Take turns, after one round to warm up."""
    engine = FusedEngine(prepared.config, prepared.reference, prepared.parameters)
    times: dict[str, list[float]] = {name: [] for name in ("fused", *others)}
    started = time.monotonic()
    for number in range(N_ROUNDS + 1):
        begun = time.process_time()
        engine.evaluate(prepared.batch, n_samples=None, stress=False)
        round_times = {"fused": time.process_time() - begun}
        round_times |= {name: peer.seconds() for name, peer in others.items()}
        if number > 0:
            for name, seconds in round_times.items():
                times[name].append(seconds)
        if number > 1 and time.monotonic() - started > SECONDS_PER_CASE:
            break
    fused = np.array(times["fused"])
    return {
        "n_rounds": len(fused),
        "milliseconds": {name: quartiles(1e3 * np.array(each)) for name, each in times.items()},
        "ratios": {f"fused / {name}": quartiles(fused / np.array(times[name])) for name in others},
        "versions": {name: peer.versions for name, peer in others.items()},
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bank_peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--nequip", type=Path, help="Python of an environment with nequip")
    parser.add_argument("--mace", type=Path, help="Python of an environment with mace-torch")
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES])
    parser.add_argument("--eager-only", action="store_true", help="do not compile nequip")
    parser.add_argument("--output", type=Path, default=RESULTS / "peers.json")
    given = parser.parse_args()
    if not (given.nequip or given.mace):
        parser.error("at least one of --nequip and --mace is needed")
    return given


def main() -> int:
    """Measure, print, write."""
    given = _arguments()
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    cases: dict[str, JsonValue] = {}
    with tempfile.TemporaryDirectory() as folder:
        arrays = Path(folder) / "batch.npz"
        for case in CASES:
            if case.name not in (given.case or DEFAULT_CASES):
                continue
            write_arrays(case, given.data, arrays)
            with peers(given, arrays) as others:
                document = measured(prepare(case, given.data), others)
            cases[case.name] = {"n_samples": case.n_samples, **document}
            print(f"{case.name}: {json.dumps(document['ratios'])}", flush=True)
    write_result(given.output, {"cases": cases}, packages=PACKAGES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
