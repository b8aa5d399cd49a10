"""How do time and memory of the engine grow with samples, structures and atoms?

    python -m benchmarks.scaling
    python -m benchmarks.scaling --quick

The product's fused engine with random weights (16 features, l = 2, three layers, cutoff 4.5
Angstrom, single precision), one thread pinned to one core. Every point is a process of its own,
so that its memory is its own. Sweeps, each from 8 samples and 16 ethanol:

- samples: 1 to 64 posterior networks;
- structures: 1 to 64 ethanol in one batch;
- atoms: one periodic box of water, 24 to 648 atoms.

Time is the median of the processor time of an evaluation. Memory is the highest resident size of
the process during evaluations (VmHWM, set back after the first) less its size after one small
batch, when libraries and compiled kernels are in memory and freed memory has been given back to
the system: what the parameters and the batch take.
``results/scaling/cpu.json``; ``--quick`` evaluates two small points in this process and writes
nothing.
"""

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import ase.build
import numpy as np
import torch
from ase import Atoms
from pydantic import JsonValue

from benchmarks.engine_cases import prepare_structures
from benchmarks.stamp import write_result
from posterion.inference.fused.engine import FusedEngine

RESULTS: Final = Path(__file__).parent / "results" / "scaling"
SIZE: Final[Mapping[str, int]] = {"n_features": 16, "l_max": 2}
MOLECULE_SPACING: Final = 3.1
N_EVALUATIONS: Final = 9
POINT_DEADLINE_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One batch and one bank.

    Attributes:
        sweep: What grows.
        n_samples: Networks of the bank.
        n_structures: Ethanol molecules; unused with water.
        n_waters: Molecules of water along each edge of a box; 0 = ethanol.
    """

    sweep: str
    n_samples: int = 8
    n_structures: int = 16
    n_waters: int = 0


def points(*, quick: bool) -> list[Point]:
    """Every point, in order.

    Args:
        quick: Only two.
    """
    if quick:
        return [Point(sweep="samples", n_samples=n, n_structures=1) for n in (1, 2)]
    powers = [2**power for power in range(7)]
    return [
        *(Point(sweep="samples", n_samples=n) for n in powers),
        *(Point(sweep="structures", n_structures=n) for n in powers[::2]),
        *(Point(sweep="atoms", n_structures=1, n_waters=n) for n in (2, 3, 4, 5, 6)),
    ]


def batch_of(point: Point) -> Sequence[Atoms]:
    """The structures of a point."""
    if point.n_waters:
        return [_water(point.n_waters)]
    shaken = []
    for seed in range(point.n_structures):
        atoms = ase.build.molecule("CH3CH2OH")
        atoms.rattle(0.05, seed=seed)
        shaken.append(atoms)
    return shaken


def _water(n: int) -> Atoms:
    """A box of n^3 molecules, shaken; 3.1 Angstrom apart as in the liquid."""
    atoms = ase.build.molecule("H2O")
    atoms.set_cell(MOLECULE_SPACING * np.eye(3))
    atoms.pbc = True
    box: Atoms = atoms.repeat((n, n, n))
    box.rattle(0.05, seed=0)
    return box


def measure(point: Point, *, n_evaluations: int) -> dict[str, JsonValue]:
    """Evaluate one point in this process.

    Args:
        point: What to evaluate.
        n_evaluations: How often.
    """
    # A small batch first: compiled kernels and libraries belong to no sample.
    small = replace(point, n_structures=1, n_waters=min(point.n_waters, 2))
    _evaluator(small)()
    _give_back()
    before = _status_bytes("VmRSS")
    evaluate = _evaluator(point)
    evaluate()
    _give_back()
    Path("/proc/self/clear_refs").write_text("5")
    times = []
    for _ in range(n_evaluations):
        begun = time.process_time()
        evaluate()
        times.append(time.process_time() - begun)
    return {
        **asdict(point),
        "n_atoms": sum(map(len, batch_of(point))),
        "milliseconds": float(f"{1e3 * np.median(times):.4g}"),
        "megabytes": round((_status_bytes("VmHWM") - before) / 1e6, 1),
        "process_megabytes": round(_status_bytes("VmHWM") / 1e6, 1),
    }


def _evaluator(point: Point) -> Callable[[], object]:
    prepared = prepare_structures(batch_of(point), size=SIZE, n_samples=point.n_samples)
    engine = FusedEngine(prepared.config, prepared.reference, prepared.parameters)
    return lambda: engine.evaluate(prepared.batch, n_samples=None, stress=False)


def _give_back() -> None:
    """Return freed memory to the system, so that resident memory is memory in use."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)


def _status_bytes(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"this system does not say {name}; the benchmark needs Linux")


def run_points(chosen: Sequence[Point]) -> Iterator[dict[str, JsonValue]]:
    """Run every point in a process of its own.

    Args:
        chosen: The points.

    Yields:
        The row of each.
    """
    for point in chosen:
        command = [sys.executable, "-m", "benchmarks.scaling", "--point", json.dumps(asdict(point))]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=POINT_DEADLINE_S)
        row: dict[str, JsonValue] = json.loads(done.stdout)
        print(json.dumps(row), flush=True)
        yield row


def per_sample(rows: Sequence[Mapping[str, JsonValue]], of: str) -> float:
    """Slope of a column against the number of samples, by least squares."""
    chosen = [row for row in rows if row["sweep"] == "samples"]
    samples = np.array([row["n_samples"] for row in chosen], dtype=np.float64)
    values = np.array([row[of] for row in chosen], dtype=np.float64)
    slope, _ = np.polyfit(samples, values, 1)
    return float(f"{slope:.3g}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="two small points")
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=RESULTS / "cpu.json")
    return parser.parse_args()


def main() -> int:
    """Measure, print, write."""
    given = _arguments()
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if given.point is not None:
        print(json.dumps(measure(Point(**given.point), n_evaluations=N_EVALUATIONS)))
        return 0
    if given.quick:
        for point in points(quick=True):
            print(json.dumps(measure(point, n_evaluations=2)))
        return 0
    rows = list(run_points(points(quick=False)))
    found: dict[str, JsonValue] = {
        "network": dict(SIZE),
        "rows": [*rows],
        "milliseconds_per_sample": per_sample(rows, "milliseconds"),
        "megabytes_per_sample": per_sample(rows, "megabytes"),
    }
    write_result(given.output, found, packages=("posterion", "torch", "numba"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
