"""One interaction block of NequIP: convolve over edges, mix channels, gate.

Batzner et al., Nat. Commun. 13, 2453 (2022), figure 1d.
"""

from typing import NamedTuple

import torch
from e3nn.nn import FullyConnectedNet, Gate
from e3nn.o3 import FullyConnectedTensorProduct, Irreps, Linear, TensorProduct
from torch import Tensor, nn
from torch.nn.functional import silu


class EdgeFeatures(NamedTuple):
    """What every layer sees of the edges.

    Attributes:
        centre: Shape ``(n_edges,)``, receiving atom.
        neighbor: Shape ``(n_edges,)``, sending atom.
        harmonics: Shape ``(n_edges, (l_max + 1)^2)``, spherical harmonics.
        radial: Shape ``(n_edges, n_radial)``, radial basis, 0 at the cutoff.
    """

    centre: Tensor
    neighbor: Tensor
    harmonics: Tensor
    radial: Tensor


class Convolution(nn.Module):
    """Sum over neighbours of (features x harmonics), weighted by a radial network."""

    def __init__(
        self,
        irreps_in: Irreps,
        irreps_edge: Irreps,
        irreps_wanted: Irreps,
        *,
        n_radial: int,
        radial_hidden: int,
    ) -> None:
        """Collect every path that leads from the input to a wanted irrep."""
        super().__init__()
        paths = [
            (multiplicity, irrep, i, j)
            for i, (multiplicity, irrep_in) in enumerate(irreps_in)
            for j, (_, irrep_edge) in enumerate(irreps_edge)
            for irrep in irrep_in * irrep_edge
            if irrep in irreps_wanted
        ]
        irreps, permutation, _ = Irreps([(mul, ir) for mul, ir, _, _ in paths]).sort()
        instructions = [(i, j, permutation[k], "uvu", True) for k, (_, _, i, j) in enumerate(paths)]
        self.tensor_product = TensorProduct(
            irreps_in,
            irreps_edge,
            irreps,
            sorted(instructions, key=lambda instruction: instruction[2]),
            shared_weights=False,
            internal_weights=False,
        )
        self.irreps_out = irreps.simplify()
        self.radial_network = FullyConnectedNet(
            [n_radial, radial_hidden, self.tensor_product.weight_numel], silu
        )

    def forward(self, features: Tensor, edges: EdgeFeatures) -> Tensor:
        """Return the summed messages, shape ``(n_atoms, irreps_out.dim)``."""
        weights = self.radial_network(edges.radial)
        messages = self.tensor_product(features[edges.neighbor], edges.harmonics, weights)
        summed = torch.zeros(
            (features.shape[0], messages.shape[-1]), dtype=messages.dtype, device=messages.device
        )
        return summed.index_add(0, edges.centre, messages)


class Interaction(nn.Module):
    """Convolution between two linear mixes, plus a self-connection by species, then a gate."""

    def __init__(
        self,
        irreps_in: Irreps,
        irreps_out: Irreps,
        irreps_edge: Irreps,
        *,
        n_elements: int,
        n_radial: int,
        radial_hidden: int,
        average_neighbors: float,
    ) -> None:
        """Size every part from the irreps in and out."""
        super().__init__()
        self.gate = _gate(irreps_out, reachable=_reachable(irreps_in, irreps_edge))
        self.irreps_out = self.gate.irreps_out
        self.normalization = average_neighbors**-0.5
        self.mix_in = Linear(irreps_in, irreps_in)
        self.convolution = Convolution(
            irreps_in,
            irreps_edge,
            self.gate.irreps_in,
            n_radial=n_radial,
            radial_hidden=radial_hidden,
        )
        self.mix_out = Linear(self.convolution.irreps_out, self.gate.irreps_in)
        self.self_connection = FullyConnectedTensorProduct(
            irreps_in, Irreps(f"{n_elements}x0e"), self.gate.irreps_in
        )

    def forward(self, features: Tensor, one_hot: Tensor, edges: EdgeFeatures) -> Tensor:
        """Update the features, shape ``(n_atoms, irreps_out.dim)``."""
        messages = self.convolution(self.mix_in(features), edges) * self.normalization
        mixed = self.mix_out(messages) + self.self_connection(features, one_hot)
        updated: Tensor = self.gate(mixed)
        return updated


def _reachable(irreps_in: Irreps, irreps_edge: Irreps) -> set[object]:
    return {out for _, a in irreps_in for _, b in irreps_edge for out in a * b}


def _gate(irreps_out: Irreps, *, reachable: set[object]) -> Gate:
    """Gate with silu on even scalars, tanh on odd ones; only what can be reached is kept."""
    scalars = Irreps([(mul, ir) for mul, ir in irreps_out if ir.l == 0 and ir in reachable])
    gated = Irreps([(mul, ir) for mul, ir in irreps_out if ir.l > 0 and ir in reachable])
    gates = Irreps([(mul, "0e") for mul, _ in gated])
    return Gate(
        scalars,
        [silu if ir.p == 1 else torch.tanh for _, ir in scalars],
        gates,
        [silu for _ in gates],
        gated,
    )
