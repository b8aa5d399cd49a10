"""How edge lengths enter the network: trainable Bessel functions under a smooth cutoff."""

import math

import torch
from torch import Tensor, nn


def polynomial_envelope(distance: Tensor, cutoff: float, degree: int) -> Tensor:
    """Polynomial that goes from 1 to 0 with two vanishing derivatives at the cutoff.

    Klicpera et al., ICLR 2020 (DimeNet), eq. 8.

    Args:
        distance: Any shape, Angstrom.
        cutoff: Angstrom.
        degree: p of the polynomial.

    Returns:
        Same shape, 0 at and beyond the cutoff.
    """
    p = float(degree)
    x = distance / cutoff
    value = (
        1.0
        - (p + 1.0) * (p + 2.0) / 2.0 * x.pow(degree)
        + p * (p + 2.0) * x.pow(degree + 1)
        - p * (p + 1.0) / 2.0 * x.pow(degree + 2)
    )
    return value * (x < 1.0)


class BesselBasis(nn.Module):
    """Bessel functions sqrt(2 / r_c) sin(w_n r / r_c) / r with trainable frequencies.

    Klicpera et al., ICLR 2020 (DimeNet), eq. 7. The frequencies are w_n = n pi + offset_n:
    the offsets are parameters with prior mean 0, like every other weight.
    """

    def __init__(self, cutoff: float, n_radial: int, degree: int) -> None:
        """Start at the frequencies n pi of a particle in a sphere."""
        super().__init__()
        self.cutoff = cutoff
        self.degree = degree
        self.offsets = nn.Parameter(torch.zeros(n_radial))
        self.register_buffer("harmonics", math.pi * torch.arange(1, n_radial + 1).to(torch.float64))

    def forward(self, distance: Tensor) -> Tensor:
        """Evaluate the basis.

        Args:
            distance: Shape ``(n_edges,)``, Angstrom, positive.

        Returns:
            Shape ``(n_edges, n_radial)``, Angstrom^-3/2.
        """
        frequencies = self.get_buffer("harmonics") + self.offsets
        radius = distance[:, None]
        envelope = polynomial_envelope(distance, self.cutoff, self.degree)[:, None]
        waves = torch.sin(frequencies * (radius / self.cutoff)) / radius
        return math.sqrt(2.0 / self.cutoff) * waves * envelope
