"""The stochastic NequIP as one module: geometry in, atomic energies and force noise out."""

import threading
from typing import Final, NamedTuple

import torch
from e3nn.o3 import Irrep, Irreps, Linear, SphericalHarmonics
from torch import Tensor, nn

from posterion.network.config import NetworkConfig
from posterion.network.interaction import EdgeFeatures, Interaction
from posterion.network.noise import NOISE_MODELS
from posterion.network.radial import BesselBasis
from posterion.network.readout import EnergyReadout, NoiseReadout

_BUILDING: Final = threading.Lock()
"""e3nn reads torch's global default dtype and generator: one network is built at a time."""


class AtomicOutputs(NamedTuple):
    """What the network says of each atom.

    Attributes:
        energy: Shape ``(n_atoms,)``, in units of the energy scale, not centred back.
        noise: Shape ``(n_atoms, n_outputs)``, read by `posterion.network.noise`.
        latent: Shape ``(n_atoms, n_features)``, the final scalars z_i.
    """

    energy: Tensor
    noise: Tensor
    latent: Tensor


class StochasticNequIP(nn.Module):
    """NequIP whose weights are drawn from a posterior, with an energy and a noise readout."""

    def __init__(self, config: NetworkConfig) -> None:
        """Build the layers that the configuration describes."""
        super().__init__()
        self.config = config
        irreps_edge = Irreps.spherical_harmonics(config.l_max)
        hidden = _hidden_irreps(config)
        self.harmonics = SphericalHarmonics(irreps_edge, normalize=True, normalization="component")
        self.basis = BesselBasis(config.cutoff, config.n_radial, config.envelope_degree)
        self.embedding = Linear(
            Irreps(f"{len(config.elements)}x0e"), Irreps(f"{config.n_features}x0e")
        )
        layers = []
        irreps = self.embedding.irreps_out
        for layer in range(config.n_layers):
            last = layer == config.n_layers - 1
            layers.append(
                Interaction(
                    irreps,
                    Irreps(f"{config.n_features}x0e") if last else hidden,
                    irreps_edge,
                    n_elements=len(config.elements),
                    n_radial=config.n_radial,
                    radial_hidden=config.radial_hidden,
                    average_neighbors=config.average_neighbors,
                )
            )
            irreps = layers[-1].irreps_out
        self.layers = nn.ModuleList(layers)
        self.energy_readout = EnergyReadout(config.n_features, config.readout_hidden)
        self.noise_readout = NoiseReadout(
            config.n_features,
            config.readout_hidden,
            n_outputs=NOISE_MODELS[config.noise_readout].n_outputs,
        )

    def forward(
        self, vectors: Tensor, centre: Tensor, neighbor: Tensor, one_hot: Tensor
    ) -> AtomicOutputs:
        """Evaluate every atom.

        Args:
            vectors: Shape ``(n_edges, 3)``, centre to neighbour, Angstrom.
            centre: Shape ``(n_edges,)``.
            neighbor: Shape ``(n_edges,)``.
            one_hot: Shape ``(n_atoms, n_elements)``, element of each atom.

        Returns:
            Energies, noise and latent scalars per atom.
        """
        distance = vectors.square().sum(dim=1).sqrt()
        edges = EdgeFeatures(centre, neighbor, self.harmonics(vectors), self.basis(distance))
        features = self.embedding(one_hot)
        for layer in self.layers:
            features = layer(features, one_hot, edges)
        return AtomicOutputs(self.energy_readout(features), self.noise_readout(features), features)


def _hidden_irreps(config: NetworkConfig) -> Irreps:
    irreps = []
    for degree in range(config.l_max + 1):
        natural = (-1) ** degree
        parities = [natural] if config.parity == "natural" else [natural, -natural]
        irreps += [(config.n_features, Irrep(degree, parity)) for parity in parities]
    return Irreps(irreps)


def build_network(config: NetworkConfig, generator: torch.Generator) -> StochasticNequIP:
    """Build a network in float64 with weights drawn from their normalised start.

    Constants (Clebsch-Gordan coefficients, Bessel frequencies) are made in float64 and
    rounded only when the caller casts the module.

    Args:
        config: Architecture.
        generator: Source of the initial weights, CPU.

    Returns:
        The network, float64, on the CPU.
    """
    seed = int(torch.randint(2**62, (1,), generator=generator))
    with _BUILDING:
        previous = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                return StochasticNequIP(config)
        finally:
            torch.set_default_dtype(previous)
