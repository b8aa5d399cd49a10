"""From what a frozen network says of atoms to what an engine answers."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from posterion.graph.batch import GraphBatch
from posterion.network.config import EnergyReference, NetworkConfig
from posterion.network.frozen import ReadoutWeights
from posterion.network.functional import NetworkOutputs
from posterion.network.noise import NOISE_MODELS


class RawOutputs(NamedTuple):
    """Answers of K samples before units.

    Attributes:
        energy: Per atom, shape ``(K, n_atoms)``.
        noise: Shape ``(K, n_atoms, n_outputs)``.
        latent: Shape ``(K, n_atoms, n_features)``.
        forces: Shape ``(K, n_atoms, 3)``, float64.
        strain: Derivatives by strain, ``(K, n_structures, 3, 3)``, float64.
    """

    energy: Tensor
    noise: Tensor
    latent: Tensor
    forces: Tensor
    strain: Tensor


def joined(parts: Sequence[RawOutputs]) -> RawOutputs:
    """Answers of some samples after those of others."""
    return parts[0] if len(parts) == 1 else RawOutputs(*map(torch.cat, zip(*parts, strict=True)))


class Units:
    """Restores units and the energy reference."""

    def __init__(
        self, config: NetworkConfig, reference: EnergyReference, *, device: torch.device
    ) -> None:
        """Keep what they are.

        Args:
            config: Architecture.
            reference: Energy reference.
            device: Where answers lie.
        """
        self._config, self._reference = config, reference
        shifts = torch.zeros(119, dtype=torch.float64)
        for number, shift in reference.shifts.items():
            shifts[number] = shift
        self._shifts = shifts.to(device)

    def __call__(self, raw: RawOutputs, batch: GraphBatch, *, stress: bool) -> NetworkOutputs:
        """Outputs in eV and Angstrom.

        Args:
            raw: In the order of the batch.
            batch: What was evaluated.
            stress: Whether it is wanted.
        """
        scale, structure = self._reference.scale, batch.structure_index
        zero = torch.zeros(
            (len(raw.energy), batch.n_structures), dtype=torch.float64, device=structure.device
        )
        # In float32 the sum over ten thousand atoms is off by several meV.
        energy = zero.index_add(1, structure, raw.energy.double())
        shift = zero[0].index_add(0, structure, self._shifts[batch.atomic_numbers])
        model, unit = NOISE_MODELS[self._config.noise_readout], self._config.noise_scale
        return NetworkOutputs(
            energy=scale * energy + shift,
            forces=scale * raw.forces,
            stress=scale * _stress(raw.strain, batch.cell) if stress else None,
            force_std=model.force_std(raw.noise, scale=unit),
            energy_std=self._reference.energy_std_per_sqrt_atom * batch.n_atoms.double().sqrt(),
            latent=raw.latent,
            force_epistemic_std=model.force_epistemic_std(raw.noise, scale=unit),
        )


def atomic_energy(latent: Tensor, weights: ReadoutWeights) -> tuple[Tensor, Tensor]:
    """Atomic energies, and their derivatives by the latent scalars."""
    hidden = torch.bmm(latent, weights.hidden)
    sigmoid = hidden.sigmoid()
    energy = torch.bmm(hidden * sigmoid, weights.out)[:, :, 0] + weights.offset
    by_hidden = sigmoid * (1.0 + hidden * (1.0 - sigmoid)) * weights.out.transpose(1, 2)
    return energy, torch.bmm(by_hidden, weights.hidden.transpose(1, 2))


def atomic_noise(latent: Tensor, weights: ReadoutWeights) -> Tensor:
    """What the noise readout says of every atom."""
    hidden = torch.nn.functional.silu(torch.bmm(latent, weights.hidden))
    return torch.bmm(hidden, weights.out) + weights.offset[:, None]


def _stress(strain: Tensor, cell: Tensor) -> Tensor:
    """Symmetric derivative by strain over the volume; NaN without a cell."""
    volume = torch.linalg.det(cell.double()).abs()
    known = torch.where(volume > 0, volume, torch.nan)
    return 0.5 * (strain + strain.transpose(2, 3)) / known[:, None, None]
