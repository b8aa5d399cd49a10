"""What the samples of a bank, published or not yet, say about labelled frames."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from posterion.graph.batch import build_graph, collate
from posterion.inference.bank import BankEngine
from posterion.structures.ase_io import LabelledFrame
from posterion.uncertainty.held_out import FloatArray, HeldOut

FRAMES_PER_BATCH: Final = 16


def evaluate_held_out(
    engine: BankEngine, frames: Sequence[LabelledFrame], *, cutoff: float
) -> HeldOut:
    """Evaluate every sample on every frame, in batches of sixteen.

    Args:
        engine: Holds the samples.
        frames: At least one frame that was not trained on.
        cutoff: Cutoff of the network, Angstrom.

    Returns:
        Predictions and references, atoms concatenated in the order of the frames.
    """
    graphs = [build_graph(frame.structure, cutoff) for frame in frames]
    outputs = [
        engine.evaluate(
            collate(
                graphs[start : start + FRAMES_PER_BATCH], dtype=engine.dtype, device=engine.device
            ),
            n_samples=None,
            stress=False,
        )
        for start in range(0, len(graphs), FRAMES_PER_BATCH)
    ]
    return HeldOut(
        n_atoms=np.array([graph.n_atoms for graph in graphs], dtype=np.int64),
        energies=_joined([part.energy for part in outputs], dim=1),
        energy_std=_joined([part.energy_std for part in outputs], dim=0),
        energy_reference=np.array([frame.energy for frame in frames], dtype=np.float64),
        forces=_joined([part.forces for part in outputs], dim=1),
        force_std=_joined([part.force_std for part in outputs], dim=1),
        force_reference=np.concatenate([frame.forces for frame in frames]).astype(np.float64),
    )


def _joined(parts: Sequence[Tensor], *, dim: int) -> FloatArray:
    joined: FloatArray = torch.cat(list(parts), dim=dim).to("cpu", torch.float64).numpy()
    return joined
