"""How well is the time of a batch predicted, and from what?

    python -m benchmarks.batch_time [--batches N] [--output FILE]
    python -m benchmarks.batch_time --quick

The bundled ethanol bank evaluates random batches on one thread: 1 to 32 structures, each a
molecule, a molecule torn apart (few edges per atom) or a dense periodic cell (many). Every
batch is predicted before it is evaluated, and learnt from afterwards, by the product's cost
model with edges and atoms, and by the same model with one of them or none. Reported are the
median and the 90th percentile of the relative error, the first twenty batches left out.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from pydantic import JsonValue

from benchmarks.graph_overlap import bundled_predictor
from benchmarks.stamp import write_result
from posterion.graph.batch import Graph
from posterion.inference.predictor import Predictor
from posterion.serving.cost_model import CostModel
from posterion.serving.formation import Cost
from posterion.structures.ase_io import structure_from_atoms
from posterion.structures.evaluation import EvaluationOptions, Precision

RESULTS: Final = Path(__file__).parent / "results" / "batching"
N_LEFT_OUT: Final = 20
LARGEST_BATCH: Final = 32

REGRESSORS: Final[Mapping[str, Callable[[Cost], Cost]]] = {
    "edges and atoms": lambda cost: cost,
    "edges": lambda cost: Cost(edges=cost.edges, atoms=0),
    "atoms": lambda cost: Cost(edges=0, atoms=cost.atoms),
    "nothing": lambda _cost: Cost(edges=0, atoms=0),
}


def structures() -> list[Atoms]:
    """Nine to 72 atoms with few, ordinary and many edges per atom."""
    compact = molecule("CH3CH2OH")
    torn = compact.copy()
    torn.positions *= 2.5
    cell = compact.copy()
    cell.set_cell([5.5, 5.5, 5.5])
    cell.pbc = True
    return [compact, torn, cell, cell.repeat((2, 2, 2))]


def measure(predictor: Predictor, precision: Precision, *, n_batches: int) -> dict[str, JsonValue]:
    """Predict, evaluate and learn, batch by batch."""
    rng = np.random.default_rng(0)
    options = EvaluationOptions(precision=precision)
    graphs = [predictor.prepare(structure_from_atoms(atoms)) for atoms in structures()]
    models = {name: CostModel() for name in REGRESSORS}
    errors: dict[str, list[float]] = {name: [] for name in REGRESSORS}
    for _ in range(n_batches):
        size = int(2 ** rng.uniform(0.0, np.log2(LARGEST_BATCH)))
        kinds = rng.choice(len(graphs), size=size, p=rng.dirichlet(np.full(len(graphs), 0.5)))
        batch = [graphs[kind] for kind in kinds]
        cost = cost_of(batch, predictor.n_samples)
        began = time.perf_counter()
        predictor.evaluate(batch, options)
        elapsed_s = time.perf_counter() - began
        for name, regressors in REGRESSORS.items():
            errors[name].append(abs(models[name].seconds(regressors(cost)) / elapsed_s - 1.0))
            models[name].learn(regressors(cost), elapsed_s)
    found: dict[str, JsonValue] = {name: quantiles(each) for name, each in errors.items()}
    model = models["edges and atoms"]
    found["fixed_ms"] = float(f"{1e3 * model.fixed_s:.3g}")
    found["us_per_1000_edge_samples"] = slope_us(model, Cost(edges=1000, atoms=0))
    found["us_per_1000_atom_samples"] = slope_us(model, Cost(edges=0, atoms=1000))
    return found


def cost_of(batch: list[Graph], n_samples: int) -> Cost:
    """Edges and atoms of a batch, times samples."""
    return Cost(
        edges=n_samples * sum(graph.n_edges for graph in batch),
        atoms=n_samples * sum(graph.n_atoms for graph in batch),
    )


def quantiles(errors: list[float]) -> dict[str, JsonValue]:
    """Median and 90th percentile of relative errors, the first ones left out."""
    kept = errors[N_LEFT_OUT:] or errors
    return {
        name: float(f"{np.quantile(kept, q):.3g}") for name, q in (("median", 0.5), ("p90", 0.9))
    }


def slope_us(model: CostModel, cost: Cost) -> float:
    """What some cost adds, microseconds."""
    return float(f"{1e6 * (model.seconds(cost) - model.fixed_s):.3g}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.batch_time",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--batches", type=int, default=400, help="of the fast engine (400)")
    parser.add_argument("--quick", action="store_true", help="ten batches, nothing written")
    parser.add_argument("--output", type=Path, default=RESULTS / "batch_time.json")
    return parser.parse_args()


def main() -> int:
    """Measure, print, write."""
    given = _arguments()
    torch.set_num_threads(1)
    predictor = bundled_predictor()
    n_batches = 10 if given.quick else given.batches
    engines: dict[str, JsonValue] = {"fused": measure(predictor, "float32", n_batches=n_batches)}
    if not given.quick:
        engines["reference"] = measure(predictor, "float64", n_batches=40)
    print(json.dumps(engines, indent=1))
    if not given.quick:
        write_result(given.output, {"engines": engines}, packages=("posterion", "torch", "numba"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
