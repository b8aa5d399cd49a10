"""Tables of smooth functions of one variable: uniform cubic B-splines.

Twice continuously differentiable, so that forces taken from a table are smooth; a knot costs
one number instead of the two of a Hermite table (de Boor, A Practical Guide to Splines, 1978).
"""

import numpy as np
import torch
from scipy.linalg import solve_banded
from torch import Tensor


def spline_coefficients(values: Tensor, *, slopes: tuple[Tensor, Tensor], spacing: float) -> Tensor:
    """Interpolate values at uniform knots.

    Args:
        values: At the knots, shape ``(n_knots, ...)``, float64.
        slopes: Derivatives at the first and at the last knot, each of shape ``(...)``.
        spacing: Distance of two knots.

    Returns:
        Shape ``(n_knots + 2, ...)``: between knots i and i + 1 the spline is the sum of the
        coefficients i to i + 3, each times a weight of `spline_weights`.
    """
    n_knots = len(values)
    # Rows: slope at the start, every value, slope at the end.
    banded = np.zeros((5, n_knots + 2))
    banded[1, 2:] = banded[3, :-2] = 1.0 / 6.0
    banded[2, 1:-1] = 4.0 / 6.0
    banded[2, 0], banded[1, 1], banded[0, 2] = -0.5, 0.0, 0.5
    banded[2, -1], banded[3, -2], banded[4, -3] = 0.5, 0.0, -0.5
    right = torch.cat([spacing * slopes[0][None], values, spacing * slopes[1][None]])
    solved = solve_banded((2, 2), banded, right.reshape(n_knots + 2, -1).numpy())
    return torch.from_numpy(solved).view(right.shape)


def spline_weights(fraction: Tensor) -> Tensor:
    """Weights of the four coefficients about a place between two knots.

    Args:
        fraction: Way from the left knot to the right one, 0 to 1, any shape.

    Returns:
        Shape ``(..., 4)``.
    """
    t, s = fraction, 1.0 - fraction
    return torch.stack(
        [s**3, 4.0 - 6.0 * t**2 + 3.0 * t**3, 4.0 - 6.0 * s**2 + 3.0 * s**3, t**3], dim=-1
    ).div(6.0)
