"""What leaves the network: atomic energies and the logarithm of the force noise."""

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
    """log(sigma / s0) of the aleatoric force noise: one isotropic value per atom.

    The last layer starts at zero, so training begins at sigma = s0 everywhere.
    """

    def __init__(self, n_latent: int, hidden: int) -> None:
        """One hidden layer and one global offset."""
        super().__init__()
        self.network = FullyConnectedNet([n_latent, hidden, 1], silu)
        self.offset = nn.Parameter(torch.zeros(1))
        with torch.no_grad():
            list(self.network.parameters())[-1].zero_()

    def forward(self, latent: Tensor) -> Tensor:
        """Return log(sigma / s0), shape ``(n_atoms,)``."""
        return self.network(latent)[:, 0] + self.offset  # type: ignore[no-any-return]
