"""Spherical harmonics as polynomials of the components of a unit vector."""

from itertools import combinations_with_replacement
from typing import TypeAlias

import torch
from e3nn.o3 import SphericalHarmonics

Polynomial: TypeAlias = tuple[tuple[tuple[int, ...], float], ...]
"""Powers of x, y and z, and a factor, of every term."""

_NEGLIGIBLE = 1e-12
_PLACES_PER_TERM = 4


def harmonic_polynomials(harmonics: SphericalHarmonics, l_max: int) -> tuple[Polynomial, ...]:
    """Write harmonics of degree 0 to ``l_max`` as homogeneous polynomials.

    A homogeneous polynomial is known by its values on the sphere, so a fit to enough places
    is exact, whatever normalisation and order of axes the module has.

    Args:
        harmonics: One of every degree, in order.
        l_max: Largest degree.

    Returns:
        One polynomial per component.
    """
    generator = torch.Generator().manual_seed(0)
    found: list[Polynomial] = []
    for degree in range(l_max + 1):
        powers = [
            tuple(axes.count(axis) for axis in range(3))
            for axes in combinations_with_replacement(range(3), degree)
        ]
        places = torch.randn(
            (_PLACES_PER_TERM * len(powers), 3), generator=generator, dtype=torch.float64
        )
        places = places / places.norm(dim=1, keepdim=True)
        monomials = torch.stack(
            [places.pow(torch.tensor(each, dtype=torch.float64)).prod(dim=1) for each in powers], 1
        )
        values = harmonics(places)[:, degree**2 : (degree + 1) ** 2]
        factors = torch.linalg.lstsq(monomials, values).solution
        found += [
            tuple(
                (each, float(factor))
                for each, factor in zip(powers, column, strict=True)
                if abs(float(factor)) > _NEGLIGIBLE
            )
            for column in factors.T
        ]
    return tuple(found)
