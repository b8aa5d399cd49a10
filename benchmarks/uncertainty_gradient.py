"""What does the gradient of the uncertainty cost, next to an ordinary prediction?

    python -m benchmarks.uncertainty_gradient [--quick]

The bundled ethanol bank, one thread, batches of prepared structures: processor time of
`Predictor.evaluate` without a gradient and with the gradient of each scalar, contenders taking
turns. Reported are medians, and medians and quartiles of the ratio within a round.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Final, get_args

import numpy as np
import torch
from ase.build import molecule
from pydantic import JsonValue

from benchmarks.graph_overlap import bundled_predictor
from benchmarks.stamp import write_result
from posterion.graph.batch import Graph
from posterion.inference.predictor import Predictor
from posterion.structures.ase_io import structure_from_atoms
from posterion.structures.evaluation import EvaluationOptions, GradientScalar, Precision

RESULT: Final = Path(__file__).parent / "results" / "uncertainty_gradient" / "cpu.json"
SIZES: Final = (1, 16)
PLAIN: Final = "none"
ROUND_S: Final = 0.05
"""A contender's turn lasts at least so long."""


def ethanols(predictor: Predictor, n_structures: int) -> list[Graph]:
    """Shaken ethanol molecules, prepared."""
    graphs = []
    for seed in range(n_structures):
        atoms = molecule("CH3CH2OH")
        atoms.rattle(0.05, seed=seed)
        graphs.append(predictor.prepare(structure_from_atoms(atoms)))
    return graphs


def seconds(predictor: Predictor, graphs: list[Graph], options: EvaluationOptions) -> float:
    """Processor time of one evaluation."""
    begun, n_done, elapsed_s = time.process_time(), 0, 0.0
    while elapsed_s < ROUND_S:
        predictor.evaluate(graphs, options)
        n_done += 1
        elapsed_s = time.process_time() - begun
    return elapsed_s / n_done


def measure(
    predictor: Predictor, precision: Precision, n_structures: int, *, n_rounds: int
) -> dict[str, JsonValue]:
    """Milliseconds and ratios of every contender."""
    graphs = ethanols(predictor, n_structures)
    contenders = {PLAIN: EvaluationOptions(precision=precision)} | {
        scalar: EvaluationOptions(precision=precision, gradient_of=scalar)
        for scalar in get_args(GradientScalar)
    }
    # The second derivatives of a scripted module are compiled in its first calls.
    for options in [*contenders.values()] * 3:
        predictor.evaluate(graphs, options)
    rounds = np.array(
        [
            [seconds(predictor, graphs, options) for options in contenders.values()]
            for _ in range(n_rounds)
        ]
    )
    times = dict(zip(contenders, rounds.T, strict=True))
    return {
        name: {
            "ms": _digits(1e3 * float(np.median(each))),
            "ratio": [
                _digits(float(q)) for q in np.quantile(each / times[PLAIN], (0.25, 0.5, 0.75))
            ],
        }
        for name, each in times.items()
    }


def _digits(value: float) -> float:
    return float(f"{value:.3g}")


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.uncertainty_gradient",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="two rounds, nothing written")
    parser.add_argument("--output", type=Path, default=RESULT)
    given = parser.parse_args()
    torch.set_num_threads(1)
    predictor = bundled_predictor()
    n_rounds = 2 if given.quick else 15
    found: dict[str, JsonValue] = {
        f"{size} ethanol, {precision}": measure(predictor, precision, size, n_rounds=n_rounds)
        for size in SIZES
        for precision in get_args(Precision)
    }
    print(json.dumps(found, indent=1))
    if not given.quick:
        write_result(given.output, {"cases": found}, packages=("posterion", "torch", "numba"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
