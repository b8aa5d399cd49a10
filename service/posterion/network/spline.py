"""Tables of smooth functions of one variable: uniform B-splines of degree 5.

Four times continuously differentiable, so that forces taken from a table are smooth. The high
degree keeps the table small enough for a core's cache, and its derivative exact in single
precision, where differences of neighbouring entries lose digits with their number (de Boor, A
Practical Guide to Splines, 1978).
"""

from functools import lru_cache
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import BSpline, PPoly
from scipy.linalg import solve_banded
from torch import Tensor

DEGREE: Final = 5
"""Odd; a place lies under ``DEGREE + 1`` basis functions."""

MARGIN: Final = 16
"""Intervals beyond both ends of a table, over which the influence of its ends dies away."""


@lru_cache(maxsize=1)
def weight_polynomials() -> NDArray[np.float64]:
    """Weights of the coefficients about a place, as polynomials of the way between two knots.

    Returns:
        Shape ``(DEGREE + 1, DEGREE + 1)``: row = coefficient from the left, column = power of
        the fraction, from 0.
    """
    pieces = PPoly.from_spline(BSpline.basis_element(np.arange(DEGREE + 2.0)))
    inner = pieces.c[:, DEGREE : 2 * DEGREE + 1]
    polynomials: NDArray[np.float64] = inner[::-1, ::-1].T.copy()
    return polynomials


def spline_coefficients(values: Tensor) -> Tensor:
    """Interpolate values at uniform knots.

    Args:
        values: At the knots and at `MARGIN` further ones beyond either end, shape ``(n_knots
            + 2 * MARGIN, ...)``, float64.

    Returns:
        Shape ``(n_knots + DEGREE - 1, ...)``: between knots i and i + 1 the spline is the sum
        of the coefficients i to i + DEGREE, each times its weight.
    """
    at_knots = weight_polynomials()[:DEGREE, 0]
    n_sides = DEGREE // 2
    banded = np.repeat(at_knots[:, None], len(values), axis=1)
    solved = solve_banded((n_sides, n_sides), banded, values.reshape(len(values), -1).numpy())
    kept = torch.from_numpy(solved[MARGIN - n_sides : len(values) - MARGIN + n_sides])
    return kept.reshape(-1, *values.shape[1:])
