"""Batches and networks on which engines are compared, and what they cost in arithmetic."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import ase.io
import torch
from ase import Atoms
from ase.build import molecule
from torch import Tensor

from posterion.graph.batch import GraphBatch, build_graph, collate
from posterion.network.config import EnergyReference, NetworkConfig
from posterion.network.frozen import FrozenNetwork
from posterion.network.functional import NetworkFunction
from posterion.network.spline import DEGREE
from posterion.structures.ase_io import structure_from_atoms

CUTOFF: Final = 4.5
SMALL: Final[Mapping[str, int]] = {"n_features": 16, "l_max": 1}
LARGE: Final[Mapping[str, int]] = {"n_features": 32, "l_max": 2}
FILES: Final[Mapping[str, str]] = {
    "ethanol": "rmd17_ethanol_train01.extxyz",
    "aspirin": "rmd17_aspirin_train01.extxyz",
    "water": "water192_train.extxyz",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One batch under one architecture.

    Attributes:
        name: In tables.
        molecule: Key of `FILES`.
        n_structures: In the batch.
        n_samples: Of the bank.
        size: ``n_features`` and ``l_max``.
    """

    name: str
    molecule: str
    n_structures: int
    n_samples: int = 8
    size: Mapping[str, int]


CASES: Final = (
    Case(name="1 ethanol", molecule="ethanol", n_structures=1, size=SMALL),
    Case(name="16 ethanol", molecule="ethanol", n_structures=16, size=SMALL),
    Case(name="16 aspirin, small", molecule="aspirin", n_structures=16, size=SMALL),
    Case(name="16 aspirin", molecule="aspirin", n_structures=16, size=LARGE),
    Case(name="192-atom water", molecule="water", n_structures=1, size=LARGE),
    Case(name="16 ethanol, K = 32", molecule="ethanol", n_structures=16, n_samples=32, size=SMALL),
    Case(name="16 aspirin, K = 32", molecule="aspirin", n_structures=16, n_samples=32, size=LARGE),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """A case with its random networks.

    Attributes:
        config: Architecture.
        reference: Energy reference.
        parameters: Shape ``(n_samples, n_parameters)``, float32.
        batch: The structures, float32.
    """

    config: NetworkConfig
    reference: EnergyReference
    parameters: Tensor
    batch: GraphBatch


def prepare(case: Case, data: Path | None) -> Prepared:
    """Draw networks and read structures.

    Args:
        case: What to prepare.
        data: Folder of the data sets; None = ethanol at rest, shaken.

    Returns:
        Networks of seed 0, the first structures of the file.
    """
    return prepare_structures(frames(case, data), size=case.size, n_samples=case.n_samples)


def prepare_structures(
    atoms: Sequence[Atoms], *, size: Mapping[str, int], n_samples: int
) -> Prepared:
    """Draw networks for some structures.

    Args:
        atoms: The batch.
        size: ``n_features`` and ``l_max``.
        n_samples: Of the bank.

    Returns:
        Networks of seed 0 over the elements of the batch.
    """
    structures = [structure_from_atoms(each) for each in atoms]
    elements = sorted({int(z) for one in structures for z in one.atomic_numbers})
    config = NetworkConfig.model_validate(
        {"elements": elements, "cutoff": CUTOFF, "n_layers": 3, **size}
    )
    reference = EnergyReference(
        shifts=dict.fromkeys(elements, 0.0), scale=1.0, energy_std_per_sqrt_atom=0.01
    )
    function = NetworkFunction(config, reference, dtype=torch.float32, device="cpu")
    generator = torch.Generator().manual_seed(0)
    rows = [function.initial_parameters(generator) for _ in range(n_samples)]
    graphs = [build_graph(structure, CUTOFF) for structure in structures]
    return Prepared(
        config=config,
        reference=reference,
        parameters=torch.stack(rows).float(),
        batch=collate(graphs, dtype=torch.float32, device="cpu"),
    )


def frames(case: Case, data: Path | None) -> Sequence[Atoms]:
    """The structures of a case."""
    if data is not None:
        return list(ase.io.iread(data / FILES[case.molecule], f":{case.n_structures}"))
    shaken = []
    for seed in range(case.n_structures):
        atoms = molecule("CH3CH2OH")
        atoms.rattle(0.05, seed=seed)
        shaken.append(atoms)
    return shaken


def useful_flops(frozen: FrozenNetwork, *, n_atoms: int, n_edges: int) -> float:
    """Floating point operations of energies and forces of one sample, by the frozen form.

    Forward and derivatives by positions, radial tables instead of networks; gates, readouts
    and geometry are left out. Sums and products count as one each.
    """
    total = 0.0
    for number, shape in enumerate(frozen.shapes):
        n, is_first = shape.n_features, number == 0
        per_edge = 0
        for path in shape.paths:
            pairs = len({(term.source, term.target) for term in path.terms})
            sources = len({term.source for term in path.terms})
            targets = len({term.target for term in path.terms})
            per_edge += 2 * (DEGREE + 1) + 2 * pairs + 2 * targets
            per_edge += 4 * (DEGREE + 1) + 2 * pairs + 2 * sources + 2
            per_edge += 0 if is_first else 2 * sources
            per_edge += 3 * len(path.terms)
        total += n_edges * n * per_edge
        slots = [0] * len(shape.targets)
        for path in shape.paths:
            slots[path.target] += 1
        gates = sum(kind == "gated" for kind in shape.kinds)
        for target, components in enumerate(shape.targets):
            columns = n * (1 + gates) if target == 0 else n
            total += 4 * n_atoms * components * slots[target] * n * columns
            inherits = not is_first and components in shape.sources
            total += 4 * n_atoms * components * n * columns if inherits else 0
        total += 0 if is_first else 4 * n_atoms * sum(shape.sources) * n * n
    return total
