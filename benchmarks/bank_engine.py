"""What does a bank of K posterior networks cost, against what everyone does?

    python -m benchmarks.bank_engine --data DIR [--compiled] [--case NAME]
    python -m benchmarks.bank_engine --data DIR --threads
    python -m benchmarks.bank_engine --quick

One thread, pinned to one core, processor time, float32. Contenders take turns within every
round, and what is reported are medians over rounds of ratios within a round, with quartiles:

- one: energies and forces of ONE network through eager e3nn;
- loop: the committee loop, K times that;
- compiled: the loop over one network compiled by inductor for the shapes of the case
  (``--compiled``; minutes per case);
- vectorized: torch.func.vmap and one reverse pass;
- fused: the product's engine.

``--threads`` asks another question: the wall time of the product's engine with one thread and
with two, not pinned. It means something where two cores are free.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from benchmarks.engine_cases import CASES, Case, Prepared, prepare, useful_flops
from benchmarks.stamp import write_result
from posterion.inference.bank import VectorizedEngine
from posterion.inference.fused.engine import FusedEngine
from posterion.network.freezing import freeze
from posterion.network.functional import NetworkFunction

RESULTS: Final = Path(__file__).parent / "results" / "bank_engine"
N_ROUNDS: Final = 15
SECONDS_PER_CASE: Final = 60.0
PACKAGES: Final = ("posterion", "torch", "e3nn", "numba")
GEMM_SIZE: Final = 1024
BATCH_SIZES: Final = (1, 2, 4, 8, 16, 32, 64)

Run = Callable[[], object]


def contenders(prepared: Prepared, *, compiled: bool) -> dict[str, Run]:
    """What takes turns.

    Args:
        prepared: Case and networks.
        compiled: Whether to compile one network, which takes minutes.

    Returns:
        Functions by name; each evaluates energies and forces once.
    """
    function = NetworkFunction(
        prepared.config, prepared.reference, dtype=torch.float32, device="cpu"
    )
    batch, rows = prepared.batch, prepared.parameters
    fused = FusedEngine(prepared.config, prepared.reference, rows)
    vectorized = VectorizedEngine(function, rows)

    def loop() -> None:
        for row in rows:
            function.evaluate_one(row, batch, stress=False)

    found: dict[str, Run] = {
        "one": lambda: function.evaluate_one(rows[0], batch, stress=False),
        "loop": loop,
        "vectorized": lambda: vectorized.evaluate(batch, n_samples=None, stress=False),
        "fused": lambda: fused.evaluate(batch, n_samples=None, stress=False),
    }
    if compiled:
        one = compiled_network(function, prepared)

        def compiled_loop() -> None:
            for row in rows:
                one(row)

        found["compiled"] = compiled_loop
    return found


def compiled_network(function: NetworkFunction, prepared: Prepared) -> Callable[[Tensor], object]:
    """One network's energies and forces as one inductor graph, for this batch only."""
    batch = prepared.batch
    traced = make_fx(lambda row: function.evaluate_one(row, batch, stress=False)[:2])(
        prepared.parameters[0]
    )
    compiled = torch.compile(traced, fullgraph=True, dynamic=False)

    def run(row: Tensor) -> object:
        with torch.no_grad():
            return compiled(row)

    return run


def interleaved(
    runs: Mapping[str, Run],
    *,
    n_rounds: int,
    seconds: float,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, list[float]]:
    """Processor time of every contender in every round, after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    started = time.monotonic()
    for _ in range(n_rounds):
        for name, run in runs.items():
            begun = clock()
            run()
            times[name].append(clock() - begun)
        if time.monotonic() - started > seconds:
            break
    return times


def measured(
    case: Case, data: Path | None, *, compiled: bool, n_rounds: int
) -> dict[str, JsonValue]:
    """Run one case."""
    prepared = prepare(case, data)
    times = interleaved(
        contenders(prepared, compiled=compiled), n_rounds=n_rounds, seconds=SECONDS_PER_CASE
    )
    frozen = freeze(prepared.config, prepared.parameters[:1])
    n_atoms, n_edges = len(prepared.batch.atomic_numbers), prepared.batch.edge_index.shape[1]
    flops = case.n_samples * useful_flops(frozen, n_atoms=n_atoms, n_edges=n_edges)
    fused = np.array(times["fused"])
    ratios: dict[str, JsonValue] = {
        f"fused / {name}": quartiles(fused / np.array(other))
        for name, other in times.items()
        if name != "fused"
    }
    return {
        "n_samples": case.n_samples,
        "n_structures": case.n_structures,
        "n_atoms": n_atoms,
        "n_edges": n_edges,
        "network": dict(case.size),
        "n_rounds": len(fused),
        "milliseconds": {name: quartiles(1e3 * np.array(each)) for name, each in times.items()},
        "ratios": ratios,
        "useful_gflop": flops / 1e9,
        "gflop_per_s": flops / 1e9 / float(np.median(fused)),
    }


def quartiles(values: NDArray[np.float64]) -> list[JsonValue]:
    """Median, first and third quartile."""
    return [float(f"{np.quantile(values, q):.4g}") for q in (0.5, 0.25, 0.75)]


def gemm_gflops() -> float:
    """Single precision products of square matrices that this core reaches."""
    left, right = torch.randn(2, GEMM_SIZE, GEMM_SIZE, generator=torch.Generator().manual_seed(0))
    times = interleaved({"gemm": lambda: left @ right}, n_rounds=15, seconds=20.0)["gemm"]
    return 2.0 * GEMM_SIZE**3 / 1e9 / min(times)


def batch_scaling(case: Case, data: Path | None, *, n_rounds: int) -> dict[str, JsonValue]:
    """Milliseconds of the fused engine per structure, by the size of the batch."""
    runs: dict[str, Run] = {}
    for size in BATCH_SIZES:
        prepared = prepare(
            Case(name="", molecule=case.molecule, n_structures=size, size=case.size), data
        )
        engine = FusedEngine(prepared.config, prepared.reference, prepared.parameters)
        batch = prepared.batch
        runs[str(size)] = lambda engine=engine, batch=batch: engine.evaluate(  # type: ignore[misc]
            batch, n_samples=None, stress=False
        )
    times = interleaved(runs, n_rounds=n_rounds, seconds=SECONDS_PER_CASE)
    return {size: quartiles(1e3 / int(size) * np.array(each)) for size, each in times.items()}


def sample_scaling(case: Case, data: Path | None, *, n_rounds: int) -> dict[str, JsonValue]:
    """Processor time of the first 8 samples of a bank and of all of them, in turns."""
    prepared = prepare(case, data)
    engine = FusedEngine(prepared.config, prepared.reference, prepared.parameters)
    runs: dict[str, Run] = {
        str(n): lambda n=n: engine.evaluate(  # type: ignore[misc]
            prepared.batch, n_samples=n, stress=False
        )
        for n in (8, case.n_samples)
    }
    times = interleaved(runs, n_rounds=n_rounds, seconds=SECONDS_PER_CASE)
    few, every = (np.array(each) for each in times.values())
    return {
        "milliseconds": {n: quartiles(1e3 * np.array(each)) for n, each in times.items()},
        "ratio": quartiles(every / few),
    }


def thread_scaling(case: Case, data: Path | None, *, n_rounds: int) -> dict[str, JsonValue]:
    """Wall time of the fused engine on one thread and on two, in turns."""
    prepared = prepare(case, data)
    engines = {
        n: FusedEngine(prepared.config, prepared.reference, prepared.parameters, n_threads=n)
        for n in (1, 2)
    }
    runs: dict[str, Run] = {
        str(n): lambda engine=engine: engine.evaluate(  # type: ignore[misc]
            prepared.batch, n_samples=None, stress=False
        )
        for n, engine in engines.items()
    }
    times = interleaved(runs, n_rounds=n_rounds, seconds=SECONDS_PER_CASE, clock=time.perf_counter)
    one, two = (np.array(times[key]) for key in ("1", "2"))
    return {
        "wall_milliseconds": {key: quartiles(1e3 * np.array(each)) for key, each in times.items()},
        "speed_up": quartiles(one / two),
        "n_rounds": len(one),
        "n_samples": case.n_samples,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bank_engine",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES])
    parser.add_argument("--compiled", action="store_true", help="compile one network as well")
    parser.add_argument("--threads", action="store_true", help="one thread against two instead")
    parser.add_argument("--quick", action="store_true", help="one small case, three rounds")
    parser.add_argument("--output", type=Path, help="default: results/bank_engine/cpu.json")
    given = parser.parse_args()
    given.output = given.output or RESULTS / ("threads.json" if given.threads else "cpu.json")
    if given.data is None and not given.quick:
        parser.error("--data is needed: aspirin and water are read from the data sets")
    return given


def main() -> int:
    """Measure, print, write."""
    given = _arguments()
    torch.set_num_threads(1)
    if not given.threads:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    chosen = [case for case in CASES if not given.case or case.name in given.case]
    if given.quick:
        chosen = [case for case in chosen if case.molecule == "ethanol"][:1]
    n_rounds = 3 if given.quick else N_ROUNDS
    cases: dict[str, JsonValue] = {}
    for case in chosen:
        if given.threads:
            document = thread_scaling(case, given.data, n_rounds=n_rounds)
        else:
            document = measured(case, given.data, compiled=given.compiled, n_rounds=n_rounds)
        cases[case.name] = document
        print(f"{case.name}: {json.dumps(document.get('ratios', document))}", flush=True)
    if given.quick:
        return 0
    result: dict[str, JsonValue] = {"cases": cases}
    if not given.threads:
        result["gemm_gflop_per_s"] = gemm_gflops()
        result["samples"] = {
            case.name: sample_scaling(case, given.data, n_rounds=n_rounds)
            for case in chosen
            if case.n_samples > CASES[0].n_samples
        }
        result["milliseconds_per_structure"] = batch_scaling(
            CASES[1], given.data, n_rounds=n_rounds
        )
    write_result(given.output, result, packages=PACKAGES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
