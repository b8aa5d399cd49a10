"""Other people's networks behind one small protocol, run by their own interpreter.

Started by `benchmarks.bank_peers` with the Python of an environment that has the peer; it
imports nothing of Posterion. Standard input asks, standard output answers: a line ``run``
evaluates energies and forces of one network once and answers with the processor seconds.
"""

import importlib.metadata
import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

Arrays = Mapping[str, Any]
CUTOFF = 4.5


def forces(model: torch.nn.Module, data: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Evaluate once; both packages take and return a dictionary."""
    answer: torch.Tensor = model(dict(data))["forces"].detach()
    return answer


def nequip_network(arrays: Arrays, mode: str) -> Callable[[], object]:
    """A NequIP of the case's size: natural parity, three layers, eight Bessel functions."""
    from nequip.model import NequIPGNNModel
    from nequip.utils.global_state import set_global_state

    set_global_state()
    numbers = arrays["numbers"]
    elements = sorted(set(numbers.tolist()))
    model = NequIPGNNModel(
        seed=0,
        model_dtype="float32",
        compile_mode=mode,
        type_names=[f"Z{z}" for z in elements],
        r_max=CUTOFF,
        num_layers=3,
        l_max=int(arrays["l_max"]),
        parity=False,
        num_features=int(arrays["n_features"]),
        radial_mlp_depth=1,
        radial_mlp_width=64,
        num_bessels=8,
        avg_num_neighbors=float(arrays["edge_index"].shape[1] / len(numbers)),
        per_type_energy_scales=1.0,
        per_type_energy_shifts=0.0,
    ).eval()
    data = {
        "pos": torch.from_numpy(arrays["positions"]),
        "atom_types": torch.from_numpy(np.searchsorted(elements, numbers)),
        "edge_index": torch.from_numpy(arrays["edge_index"]),
        "batch": torch.from_numpy(arrays["structure_index"]),
        "num_atoms": torch.from_numpy(np.bincount(arrays["structure_index"])),
        "cell": torch.from_numpy(arrays["cell"]),
        "edge_cell_shift": torch.from_numpy(arrays["unit_shifts"]),
    }
    return lambda: forces(model, data)


def mace_network(arrays: Arrays, _mode: str) -> Callable[[], object]:
    """A MACE with its usual two layers, correlation 3 and max_ell 3, and the case's channels."""
    # What e3nn 0.4 keeps in a file of its own holds slices, which torch refuses by default.
    with torch.serialization.safe_globals([slice]):
        from e3nn import o3
        from mace import modules

    numbers = arrays["numbers"]
    elements = sorted(set(numbers.tolist()))
    n, degree = int(arrays["n_features"]), int(arrays["l_max"])
    hidden = "+".join(f"{n}x{k}{'eo'[k % 2]}" for k in range(degree + 1))
    torch.set_default_dtype(torch.float32)
    model = modules.ScaleShiftMACE(
        r_max=CUTOFF,
        num_bessel=8,
        num_polynomial_cutoff=6,
        max_ell=3,
        interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=modules.interaction_classes["RealAgnosticInteractionBlock"],
        num_interactions=2,
        num_elements=len(elements),
        hidden_irreps=o3.Irreps(hidden),
        MLP_irreps=o3.Irreps("16x0e"),
        atomic_energies=np.zeros(len(elements)),
        avg_num_neighbors=float(arrays["edge_index"].shape[1] / len(numbers)),
        atomic_numbers=elements,
        correlation=3,
        gate=torch.nn.functional.silu,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    ).eval()
    model.requires_grad_(requires_grad=False)
    types = torch.from_numpy(np.searchsorted(elements, numbers))
    index = torch.from_numpy(arrays["structure_index"])
    counts = torch.bincount(index)
    data = {
        "positions": torch.from_numpy(arrays["positions"]),
        "node_attrs": torch.nn.functional.one_hot(types, len(elements)).float(),
        "edge_index": torch.from_numpy(arrays["edge_index"]),
        "shifts": torch.from_numpy(arrays["shifts"]),
        "unit_shifts": torch.from_numpy(arrays["unit_shifts"]),
        "cell": torch.from_numpy(arrays["cell"]),
        "batch": index,
        "ptr": torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)]),
        "head": torch.zeros(len(counts), dtype=torch.long),
    }
    return lambda: forces(model, data)


NETWORKS: Mapping[str, Callable[[Arrays, str], Callable[[], object]]] = {
    "nequip": nequip_network,
    "mace": mace_network,
}
PACKAGES = {"nequip": "nequip", "mace": "mace-torch"}


def main() -> int:
    """Build the network, say so, then evaluate on demand."""
    name, mode, path = sys.argv[1:]
    torch.set_num_threads(1)
    arrays = np.load(path)
    answers = sys.stdout
    sys.stdout = sys.stderr
    run = NETWORKS[name](arrays, mode)
    if not torch.isfinite(torch.as_tensor(run())).all():
        raise SystemExit(f"{name} answered forces that are not finite")
    versions = {
        each: importlib.metadata.version(each) for each in (PACKAGES[name], "torch", "e3nn")
    }
    print(json.dumps(versions), file=answers, flush=True)
    for line in sys.stdin:
        if line.strip() != "run":
            raise SystemExit(f"expected a line 'run', got {line!r}")
        started = time.process_time()
        run()
        print(time.process_time() - started, file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
