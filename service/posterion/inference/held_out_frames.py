"""What the samples of a bank, published or not yet, say about labelled frames."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from torch import Tensor

from posterion.graph.batch import bounded_runs, build_graph, collate
from posterion.inference.bank import BankEngine
from posterion.network.functional import NetworkOutputs
from posterion.structures.ase_io import LabelledFrame
from posterion.structures.structure import Structure
from posterion.uncertainty.held_out import FloatArray, HeldOut, IntArray
from posterion.uncertainty.latent_density import LatentDensity

FRAMES_PER_BATCH: Final = 16

EDGES_PER_BATCH: Final = 16_384
"""Large periodic frames are evaluated in smaller numbers."""

MOST_STRUCTURES: Final = 1000
"""Training structures whose scalars are looked at."""


def evaluate_held_out(
    engine: BankEngine,
    frames: Sequence[LabelledFrame],
    *,
    cutoff: float,
    latent_density: LatentDensity | None = None,
) -> HeldOut:
    """Evaluate every sample on every frame, in batches of at most sixteen.

    Args:
        engine: Holds the samples.
        frames: At least one frame that was not trained on.
        cutoff: Cutoff of the network, Angstrom.
        latent_density: Scores the atoms, if given.

    Returns:
        Predictions and references, atoms concatenated in the order of the frames.
    """
    graphs = [build_graph(frame.structure, cutoff) for frame in frames]
    runs = bounded_runs(graphs, n_edges=EDGES_PER_BATCH, n_graphs=FRAMES_PER_BATCH)
    parts = []
    for run in runs:
        batch = collate(graphs[run], dtype=engine.dtype, device=engine.device)
        outputs = engine.evaluate(batch, n_samples=None, stress=False)
        parts.append(held_out_part(outputs, frames[run], latent_density=latent_density))
    return join_held_out(parts)


def training_latents(
    engine: BankEngine, structures: Sequence[Structure], *, cutoff: float
) -> tuple[IntArray, FloatArray]:
    """Final scalars of the first sample for structures that were trained on.

    Args:
        engine: Holds the samples.
        structures: At least one.
        cutoff: Cutoff of the network, Angstrom.

    Returns:
        Atomic numbers, shape ``(n,)``, and scalars, shape ``(n, n_features)``, of all atoms of
        at most `MOST_STRUCTURES` structures, evenly spaced.
    """
    chosen = structures[:: math.ceil(len(structures) / MOST_STRUCTURES)]
    graphs = [build_graph(structure, cutoff) for structure in chosen]
    latents = []
    for run in bounded_runs(graphs, n_edges=EDGES_PER_BATCH, n_graphs=FRAMES_PER_BATCH):
        batch = collate(graphs[run], dtype=engine.dtype, device=engine.device)
        latents.append(_exact(engine.evaluate(batch, n_samples=1, stress=False).latent[0]))
    numbers = np.concatenate([structure.atomic_numbers for structure in chosen])
    return numbers, np.concatenate(latents)


def held_out_part(
    outputs: NetworkOutputs,
    frames: Sequence[LabelledFrame],
    *,
    latent_density: LatentDensity | None = None,
) -> HeldOut:
    """Put the answers for one batch beside the references.

    Args:
        outputs: What the engine answered.
        frames: The frames of the batch, in its order.
        latent_density: Scores the atoms, if given.

    Returns:
        Predictions and references, float64 on the CPU.
    """
    told = outputs.force_epistemic_std
    sizes = [frame.structure.n_atoms for frame in frames]
    scores = None
    if latent_density is not None:
        numbers = np.concatenate([frame.structure.atomic_numbers for frame in frames])
        scores = latent_density.scores(numbers, _exact(outputs.latent[0]))
    return HeldOut(
        n_atoms=np.array(sizes, dtype=np.int64),
        energies=_exact(outputs.energy),
        energy_std=_exact(outputs.energy_std),
        energy_reference=np.array([frame.energy for frame in frames], dtype=np.float64),
        forces=_exact(outputs.forces),
        force_std=_exact(outputs.force_std),
        force_reference=np.concatenate([frame.forces for frame in frames]).astype(np.float64),
        force_epistemic_std=None if told is None else _exact(told),
        latent_scores=scores,
    )


def join_held_out(parts: Sequence[HeldOut]) -> HeldOut:
    """Concatenate batches of frames, at least one, evaluated by the same samples."""
    told = [p.force_epistemic_std for p in parts if p.force_epistemic_std is not None]
    scores = [p.latent_scores for p in parts if p.latent_scores is not None]
    return HeldOut(
        n_atoms=np.concatenate([part.n_atoms for part in parts]),
        energies=np.concatenate([part.energies for part in parts], axis=1),
        energy_std=np.concatenate([part.energy_std for part in parts]),
        energy_reference=np.concatenate([part.energy_reference for part in parts]),
        forces=np.concatenate([part.forces for part in parts], axis=1),
        force_std=np.concatenate([part.force_std for part in parts], axis=1),
        force_reference=np.concatenate([part.force_reference for part in parts]),
        force_epistemic_std=np.concatenate(told, axis=1) if told else None,
        latent_scores=np.concatenate(scores) if scores else None,
    )


def _exact(tensor: Tensor) -> FloatArray:
    exact: FloatArray = tensor.detach().cpu().double().numpy()
    return exact
