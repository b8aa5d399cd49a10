"""How energies are centred and scaled before training, in float64."""

from collections.abc import Sequence

import numpy as np

from posterion.graph.batch import build_graph
from posterion.network.config import EnergyReference, NetworkConfig, NoiseKind
from posterion.structures.ase_io import LabelledFrame
from posterion.training.config import TrainingConfig


def fit_energy_reference(
    frames: Sequence[LabelledFrame], *, energy_std_per_sqrt_atom: float
) -> EnergyReference:
    """Fit per-element shifts by least squares, and the scale as the RMS force.

    With fewer compositions than elements the shifts are the solution of least norm: their
    sum is right for the compositions seen and for no other, which is why a structure of
    unseen composition is flagged.

    Args:
        frames: Training frames.
        energy_std_per_sqrt_atom: Aleatoric energy noise, eV.

    Returns:
        The reference.
    """
    elements = sorted({int(z) for frame in frames for z in frame.structure.atomic_numbers})
    counts = np.array(
        [[np.sum(frame.structure.atomic_numbers == z) for z in elements] for frame in frames],
        dtype=np.float64,
    )
    energies = np.array([frame.energy for frame in frames])
    shifts, *_ = np.linalg.lstsq(counts, energies, rcond=None)
    forces = np.concatenate([frame.forces for frame in frames])
    return EnergyReference(
        shifts=dict(zip(elements, map(float, shifts), strict=True)),
        scale=float(np.sqrt(np.mean(forces**2))),
        energy_std_per_sqrt_atom=energy_std_per_sqrt_atom,
    )


def network_config(
    config: TrainingConfig,
    frames: Sequence[LabelledFrame],
    *,
    noise_readout: NoiseKind = "gaussian",
) -> NetworkConfig:
    """Complete the configured sizes by what the data determine.

    Args:
        config: The training configuration.
        frames: Training frames.
        noise_readout: What the likelihood of the method wants to know.

    Returns:
        The network configuration, elements and mean neighbour count filled in.
    """
    sizes = config.network
    graphs = [build_graph(frame.structure, sizes.cutoff) for frame in frames]
    n_atoms = sum(graph.n_atoms for graph in graphs)
    n_edges = sum(graph.n_edges for graph in graphs)
    return NetworkConfig(
        elements=tuple(
            sorted({int(z) for frame in frames for z in frame.structure.atomic_numbers})
        ),
        average_neighbors=max(n_edges / n_atoms, 1.0),
        noise_readout=noise_readout,
        **sizes.model_dump(),
    )
