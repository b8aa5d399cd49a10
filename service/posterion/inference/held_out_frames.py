"""What the samples of a bank, published or not yet, say about labelled frames."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from torch import Tensor

from posterion.graph.batch import bounded_runs, build_graph, collate
from posterion.inference.bank import BankEngine
from posterion.network.functional import NetworkOutputs
from posterion.structures.ase_io import LabelledFrame
from posterion.uncertainty.held_out import FloatArray, HeldOut

FRAMES_PER_BATCH: Final = 16

EDGES_PER_BATCH: Final = 16_384
"""Large periodic frames are evaluated in smaller numbers."""


def evaluate_held_out(
    engine: BankEngine, frames: Sequence[LabelledFrame], *, cutoff: float
) -> HeldOut:
    """Evaluate every sample on every frame, in batches of at most sixteen.

    Args:
        engine: Holds the samples.
        frames: At least one frame that was not trained on.
        cutoff: Cutoff of the network, Angstrom.

    Returns:
        Predictions and references, atoms concatenated in the order of the frames.
    """
    graphs = [build_graph(frame.structure, cutoff) for frame in frames]
    runs = bounded_runs(graphs, n_edges=EDGES_PER_BATCH, n_graphs=FRAMES_PER_BATCH)
    parts = []
    for run in runs:
        batch = collate(graphs[run], dtype=engine.dtype, device=engine.device)
        outputs = engine.evaluate(batch, n_samples=None, stress=False)
        parts.append(held_out_part(outputs, frames[run]))
    return join_held_out(parts)


def held_out_part(outputs: NetworkOutputs, frames: Sequence[LabelledFrame]) -> HeldOut:
    """Put the answers for one batch beside the references.

    Args:
        outputs: What the engine answered.
        frames: The frames of the batch, in its order.

    Returns:
        Predictions and references, float64 on the CPU.
    """
    told = outputs.force_epistemic_std
    sizes = [frame.structure.n_atoms for frame in frames]
    return HeldOut(
        n_atoms=np.array(sizes, dtype=np.int64),
        energies=_exact(outputs.energy),
        energy_std=_exact(outputs.energy_std),
        energy_reference=np.array([frame.energy for frame in frames], dtype=np.float64),
        forces=_exact(outputs.forces),
        force_std=_exact(outputs.force_std),
        force_reference=np.concatenate([frame.forces for frame in frames]).astype(np.float64),
        force_epistemic_std=None if told is None else _exact(told),
    )


def join_held_out(parts: Sequence[HeldOut]) -> HeldOut:
    """Concatenate batches of frames, at least one, evaluated by the same samples."""
    told = [p.force_epistemic_std for p in parts if p.force_epistemic_std is not None]
    return HeldOut(
        n_atoms=np.concatenate([part.n_atoms for part in parts]),
        energies=np.concatenate([part.energies for part in parts], axis=1),
        energy_std=np.concatenate([part.energy_std for part in parts]),
        energy_reference=np.concatenate([part.energy_reference for part in parts]),
        forces=np.concatenate([part.forces for part in parts], axis=1),
        force_std=np.concatenate([part.force_std for part in parts], axis=1),
        force_reference=np.concatenate([part.force_reference for part in parts]),
        force_epistemic_std=np.concatenate(told, axis=1) if told else None,
    )


def _exact(tensor: Tensor) -> FloatArray:
    exact: FloatArray = tensor.detach().cpu().double().numpy()
    return exact
