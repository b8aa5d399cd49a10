"""How the pictures of a model card are drawn: PNG bytes, no display, no global state."""

from io import BytesIO
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from posterion.training.report_input import FloatArray, Residuals
from posterion.uncertainty.scores import mean_absolute_error, reliability_curve

BLUE: Final = "#1f5f99"
ORANGE: Final = "#c8641b"
GREY: Final = "#6b7280"
DOTS_PER_INCH: Final = 144

# From a blue that a single value is seen in to a dark one.
_DENSITY: Final = LinearSegmentedColormap.from_list("density", ["#a8c8e6", BLUE, "#0b2f52"])
# Of the smallest errors, which a logarithmic axis would give most of its room.
_ERRORS_NOT_SHOWN: Final = 0.005

# So many quantile bins of predicted uncertainty; fewer with few values.
_N_BINS: Final = 12
_VALUES_PER_BIN: Final = 20


def parity_figure(forces: Residuals, energies: Residuals, *, n_atoms: NDArray[np.int64]) -> bytes:
    """Prediction against reference: force components, and energies about their mean.

    Args:
        forces: eV/Angstrom.
        energies: eV.
        n_atoms: Atoms of each structure, shape ``(n_structures,)``.

    Returns:
        A PNG.
    """
    figure, (left, right) = _panels(2)
    low, high = _diagonal(left, forces.reference, forces.prediction)
    left.hexbin(
        forces.reference,
        forces.prediction,
        gridsize=70,
        extent=(low, high, low, high),
        bins="log",
        cmap=_DENSITY,
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
    return _png(figure)


def reliability_figure(forces: Residuals, energies: Residuals) -> bytes:
    """Observed against nominal coverage of central intervals.

    The band holds 95 % of the curves of calibrated energies: binomial, one value per frame.
    Force components of one frame depend on each other, so they get no band.

    Args:
        forces: eV/Angstrom.
        energies: eV.

    Returns:
        A PNG.
    """
    levels = np.linspace(0.0, 1.0, 101)
    figure, (axes,) = _panels(1)
    spread = 1.96 * np.sqrt(levels * (1.0 - levels) / energies.error.size)
    axes.fill_between(levels, levels - spread, levels + spread, color=GREY, alpha=0.18, linewidth=0)
    axes.plot(levels, levels, color=GREY, linewidth=1, linestyle="--", label="calibrated")
    for quantity, name, colour in ((forces, "forces", BLUE), (energies, "energies", ORANGE)):
        curve = reliability_curve(quantity.error, quantity.total, levels)
        axes.plot(levels, curve, color=colour, linewidth=2, label=name)
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(0.0, 1.0)
    axes.set_aspect("equal")
    axes.set_xlabel("nominal coverage of the interval")
    axes.set_ylabel("observed fraction of references inside")
    axes.set_title("Reliability on frames never used before")
    axes.legend(frameon=False, loc="upper left")
    return _png(figure)


def error_against_uncertainty_figure(forces: Residuals) -> bytes:
    """Force errors against predicted total standard deviation, value by value and binned.

    Args:
        forces: eV/Angstrom.

    Returns:
        A PNG.
    """
    figure, (axes,) = _panels(1)
    error = np.abs(forces.error)
    visible = (error > 0.0) & (error >= np.quantile(error, _ERRORS_NOT_SHOWN))
    axes.hexbin(
        forces.total[visible],
        error[visible],
        gridsize=60,
        bins="log",
        cmap=_DENSITY,
        xscale="log",
        yscale="log",
        mincnt=1,
    )
    predicted, observed = binned_errors(forces)
    axes.plot(
        predicted, observed, "o-", color=ORANGE, markersize=5, label="RMS error in equal bins"
    )
    ends = np.array([forces.total.min(), forces.total.max()])
    axes.plot(ends, ends, color=GREY, linewidth=1, linestyle="--", label="calibrated")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("predicted total standard deviation (eV/Å)")
    axes.set_ylabel("|error| of a force component (eV/Å)")
    axes.set_title("Do large uncertainties mean large errors?")
    axes.legend(frameon=False, loc="lower right")
    return _png(figure)


def binned_errors(residuals: Residuals) -> tuple[FloatArray, FloatArray]:
    """RMS predicted standard deviation and RMS error in bins of equal counts.

    Args:
        residuals: One quantity.

    Returns:
        Two arrays of shape ``(n_bins,)``, by increasing standard deviation.
    """
    order = np.argsort(residuals.total)
    n_bins = max(1, min(_N_BINS, order.size // _VALUES_PER_BIN))
    bins = np.array_split(order, n_bins)
    predicted = np.array([np.sqrt(np.mean(residuals.total[one] ** 2)) for one in bins])
    observed = np.array([np.sqrt(np.mean(residuals.error[one] ** 2)) for one in bins])
    return predicted, observed


def _panels(n_columns: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(5.2 * n_columns, 4.6), layout="constrained", facecolor="white")
    axes = [figure.add_subplot(1, n_columns, column + 1) for column in range(n_columns)]
    for one in axes:
        one.grid(visible=True, color="#e5e7eb", linewidth=0.6)
        one.set_axisbelow(True)
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _diagonal(axes: Axes, reference: FloatArray, prediction: FloatArray) -> tuple[float, float]:
    """Draw the line of perfect predictions and return its ends."""
    low = float(min(reference.min(), prediction.min()))
    high = float(max(reference.max(), prediction.max()))
    axes.plot([low, high], [low, high], color=GREY, linewidth=1, linestyle="--")
    return low, high


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()
