"""What leaves the network: atomic energies and what describes the force noise."""

import torch
from e3nn.nn import FullyConnectedNet
from torch import Tensor, nn
from torch.nn.functional import silu


class EnergyReadout(nn.Module):
    """Atomic energy from the latent scalars, in units of the energy scale."""

    def __init__(self, n_latent: int, hidden: int) -> None:
        """One hidden layer."""
        super().__init__()
        self.network = FullyConnectedNet([n_latent, hidden, 1], silu)

    def forward(self, latent: Tensor) -> Tensor:
        """Return atomic energies, shape ``(n_atoms,)``."""
        return self.network(latent)[:, 0]  # type: ignore[no-any-return]


class NoiseReadout(nn.Module):
    """Unbounded numbers that describe the isotropic force noise of an atom.

    `posterion.network.noise` says what they mean. The last layer starts at zero, so that
    training begins with the same noise everywhere.
    """

    def __init__(self, n_latent: int, hidden: int, *, n_outputs: int) -> None:
        """One hidden layer and one global offset per output."""
        super().__init__()
        self.network = FullyConnectedNet([n_latent, hidden, n_outputs], silu)
        self.offset = nn.Parameter(torch.zeros(n_outputs))
        with torch.no_grad():
            list(self.network.parameters())[-1].zero_()

    def forward(self, latent: Tensor) -> Tensor:
        """Return the numbers of each atom, shape ``(n_atoms, n_outputs)``."""
        return self.network(latent) + self.offset  # type: ignore[no-any-return]
