"""Predictions against references."""

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from posterion.figures.canvas import BLUE, DENSITY, GREY, FloatArray, panels, png
from posterion.uncertainty.residuals import Residuals
from posterion.uncertainty.scores import mean_absolute_error


def parity_figure(forces: Residuals, energies: Residuals, *, n_atoms: NDArray[np.int64]) -> bytes:
    """Draw force components, and energies about their mean.

    Args:
        forces: eV/Angstrom.
        energies: eV.
        n_atoms: Atoms of each structure, shape ``(n_structures,)``.

    Returns:
        A PNG.
    """
    figure, (left, right) = panels(2)
    low, high = _diagonal(left, forces.reference, forces.prediction)
    left.hexbin(
        forces.reference,
        forces.prediction,
        gridsize=70,
        extent=(low, high, low, high),
        bins="log",
        cmap=DENSITY,
        mincnt=1,
    )
    left.set_aspect("equal")
    left.set_xlabel("reference force component (eV/Å)")
    left.set_ylabel("predicted force component (eV/Å)")
    left.set_title(f"Forces: MAE {1e3 * mean_absolute_error(forces.error):.1f} meV/Å")
    reference, prediction = (
        1e3 * (energy - energies.reference.mean()) / n_atoms
        for energy in (energies.reference, energies.prediction)
    )
    half_width = 1e3 * energies.total / n_atoms
    right.errorbar(
        reference,
        prediction,
        yerr=half_width,
        fmt="o",
        markersize=3,
        elinewidth=0.6,
        color=BLUE,
        ecolor=GREY,
        alpha=0.7,
        label="± one total standard deviation",
    )
    _diagonal(right, reference, prediction)
    right.set_xlabel("reference energy − mean (meV/atom)")
    right.set_ylabel("predicted energy − mean (meV/atom)")
    error = mean_absolute_error(energies.error / n_atoms)
    right.set_title(f"Energies: MAE {1e3 * error:.2f} meV/atom")
    right.legend(frameon=False, loc="upper left")
    return png(figure)


def _diagonal(axes: Axes, reference: FloatArray, prediction: FloatArray) -> tuple[float, float]:
    """Draw the line of perfect predictions and return its ends."""
    low = float(min(reference.min(), prediction.min()))
    high = float(max(reference.max(), prediction.max()))
    axes.plot([low, high], [low, high], color=GREY, linewidth=1, linestyle="--")
    return low, high
