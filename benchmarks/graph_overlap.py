"""Are graphs built while the device evaluates, or do threads only take turns?

    python -m benchmarks.graph_overlap [--rounds N] [--output FILE]
    python -m benchmarks.graph_overlap --quick

The bundled ethanol bank on one thread, as a replica runs it: structures become graphs in a
preparation thread, batches of 16 are evaluated in the device thread. Measured in turns: the
graphs alone, the evaluation alone, and both at once, half a second or so of each. Overlap is
the share of the shorter one that vanishes: 1 = as if on two machines, 0 = as if one after the
other. It needs two free cores, and means nothing on a busy machine.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from pydantic import JsonValue

from benchmarks.stamp import write_result
from posterion.bundled import bundled_store
from posterion.inference.loading import load_bank
from posterion.inference.predictor import Predictor
from posterion.structures.ase_io import structure_from_atoms
from posterion.structures.evaluation import EvaluationOptions
from posterion_store import Store

RESULTS: Final = Path(__file__).parent / "results" / "batching"
BATCH: Final = 16
BANK: Final = "ethanol"
CASES: Final = ("ethanol", "box of 32 ethanol")


def atoms_of(case: str) -> Atoms:
    """The structure of a case, shaken."""
    atoms = molecule("CH3CH2OH")
    if case != "ethanol":
        atoms.set_cell([5.5, 5.5, 5.5])
        atoms.pbc = True
        atoms = atoms.repeat((4, 4, 2))
    atoms.rattle(0.02, seed=0)
    return atoms


def bundled_predictor() -> Predictor:
    """The bundled bank, on one thread."""
    store = Store.open(bundled_store(), read_only=True)
    digest = store.resolve(BANK, "stable")
    return Predictor(load_bank(store, BANK, digest, device="cpu"), n_threads=1)


def measure(
    case: str, predictor: Predictor, *, n_rounds: int, seconds: float
) -> dict[str, JsonValue]:
    """Medians over rounds of one case."""
    structure, options = structure_from_atoms(atoms_of(case)), EvaluationOptions()
    graph = predictor.prepare(structure)
    batch = [graph] * (BATCH if case == "ethanol" else 1)
    predictor.evaluate(batch, options)
    evaluate_s = min(timed(lambda: predictor.evaluate(batch, options)) for _ in range(5))
    prepare_s = min(timed(lambda: predictor.prepare(structure)) for _ in range(5))
    n_graphs = max(1, round(seconds / prepare_s))
    # As much of one as of the other: there the overlap matters most, and shows most.
    n_batches = max(1, round(seconds / evaluate_s))
    with (
        ThreadPoolExecutor(1) as preparation,
        ThreadPoolExecutor(1) as device,
    ):

        def graphs() -> list[Future[object]]:
            return [preparation.submit(predictor.prepare, structure) for _ in range(n_graphs)]

        def evaluations() -> list[Future[object]]:
            return [device.submit(predictor.evaluate, batch, options) for _ in range(n_batches)]

        rows = []
        for _ in range(n_rounds):
            alone = timed(lambda: done(graphs()))
            evaluated = timed(lambda: done(evaluations()))
            both = timed(lambda: done([*evaluations(), *graphs()]))
            rows.append((alone, evaluated, both))
    found = np.array(rows)
    overlap = (found[:, 0] + found[:, 1] - found[:, 2]) / found[:, :2].min(axis=1)
    return {
        "overlap": float(f"{np.median(overlap):.3g}"),
        "overlap_by_round": [float(f"{each:.3g}") for each in overlap],
        "graph_ms": float(f"{1e3 * np.median(found[:, 0]) / n_graphs:.3g}"),
        "evaluate_ms_per_structure": float(
            f"{1e3 * np.median(found[:, 1]) / n_batches / len(batch):.3g}"
        ),
        "n_edges": graph.n_edges,
        "n_samples": predictor.n_samples,
    }


def done(futures: list[Future[object]]) -> None:
    """Wait for all."""
    for future in futures:
        future.result()


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.graph_overlap",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=9, help="turns (9)")
    parser.add_argument("--quick", action="store_true", help="one short turn, nothing written")
    parser.add_argument("--output", type=Path, default=RESULTS / "overlap.json")
    return parser.parse_args()


def main() -> int:
    """Measure, print, write."""
    given = _arguments()
    torch.set_num_threads(1)
    predictor = bundled_predictor()
    cases: dict[str, JsonValue] = {}
    for case in CASES[: 1 if given.quick else None]:
        n_rounds, seconds = (1, 0.05) if given.quick else (given.rounds, 0.5)
        cases[case] = measure(case, predictor, n_rounds=n_rounds, seconds=seconds)
    print(json.dumps(cases, indent=1))
    if not given.quick:
        write_result(
            given.output, {"cases": cases}, packages=("posterion", "torch", "numba", "vesin")
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
