"""Whether uncertainties are as large as errors: coverage, and errors bin by bin."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from posterion.figures.canvas import (
    BLUE,
    DENSITY,
    GREEN,
    GREY,
    ORANGE,
    VIOLET,
    FloatArray,
    panels,
    png,
)
from posterion.uncertainty.residuals import Residuals
from posterion.uncertainty.scores import reliability_curve

# Of the smallest errors, which a logarithmic axis would give most of its room.
_ERRORS_NOT_SHOWN: Final = 0.005

# So many quantile bins of predicted uncertainty; fewer with few values.
_N_BINS: Final = 12
_VALUES_PER_BIN: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ErrorPanel:
    """Errors beside what was predicted for them.

    Attributes:
        title: What is shown.
        predicted: Predicted root mean square of each error, shape ``(n,)``, eV/Angstrom.
        error: Shape ``(n,)``, at least zero, eV/Angstrom.
        predicted_label: Of the horizontal axis.
        error_label: Of the vertical axis.
    """

    title: str
    predicted: FloatArray
    error: FloatArray
    predicted_label: str
    error_label: str


def reliability_figure(
    quantities: Sequence[tuple[str, Residuals]], *, n_frames: int, title: str
) -> bytes:
    """Draw observed against nominal coverage of central intervals.

    The band holds 95 % of the curves of calibrated energies: binomial, one value per frame.
    Force components of one frame depend on each other, so they get no band.

    Args:
        quantities: Name and residuals of each curve, at most four.
        n_frames: Energies behind the band.
        title: Of the picture.

    Returns:
        A PNG.
    """
    levels = np.linspace(0.0, 1.0, 101)
    figure, (axes,) = panels(1)
    spread = 1.96 * np.sqrt(levels * (1.0 - levels) / n_frames)
    axes.fill_between(levels, levels - spread, levels + spread, color=GREY, alpha=0.18, linewidth=0)
    axes.plot(levels, levels, color=GREY, linewidth=1, linestyle="--", label="calibrated")
    for (name, one), colour in zip(quantities, (BLUE, ORANGE, GREEN, VIOLET), strict=False):
        curve = reliability_curve(one.error, one.total, levels)
        axes.plot(levels, curve, color=colour, linewidth=2, label=name)
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(0.0, 1.0)
    axes.set_aspect("equal")
    axes.set_xlabel("nominal coverage of the interval")
    axes.set_ylabel("observed fraction of references inside")
    axes.set_title(title)
    figure.legend(frameon=False, loc="outside lower center")
    return png(figure)


def component_panel(forces: Residuals) -> ErrorPanel:
    """Absolute errors of force components beside their total standard deviations."""
    return ErrorPanel(
        title="Do large uncertainties mean large errors?",
        predicted=forces.total,
        error=np.abs(forces.error),
        predicted_label="predicted total standard deviation (eV/Å)",
        error_label="|error| of a force component (eV/Å)",
    )


def error_figure(shown: Sequence[ErrorPanel]) -> bytes:
    """Draw errors against predictions on logarithmic axes, value by value and binned.

    All panels have the same axes.

    Args:
        shown: From left to right.

    Returns:
        A PNG.
    """
    figure, axes = panels(len(shown), n_columns=2)
    for one, panel in zip(axes, shown, strict=True):
        _draw_errors(one, panel)
    limits = [(min(a.get_xlim()[0] for a in axes), max(a.get_xlim()[1] for a in axes))]
    limits += [(min(a.get_ylim()[0] for a in axes), max(a.get_ylim()[1] for a in axes))]
    for one in axes:
        one.set_xlim(limits[0])
        one.set_ylim(limits[1])
    return png(figure)


def binned_errors(predicted: FloatArray, error: FloatArray) -> tuple[FloatArray, FloatArray]:
    """RMS of predicted and of observed errors in bins of equal counts.

    Args:
        predicted: Predicted RMS of each error, shape ``(n,)``.
        error: Shape ``(n,)``.

    Returns:
        Two arrays of shape ``(n_bins,)``, by increasing prediction.
    """
    order = np.argsort(predicted)
    n_bins = max(1, min(_N_BINS, order.size // _VALUES_PER_BIN))
    bins = np.array_split(order, n_bins)
    expected = np.array([np.sqrt(np.mean(predicted[one] ** 2)) for one in bins])
    observed = np.array([np.sqrt(np.mean(error[one] ** 2)) for one in bins])
    return expected, observed


def _draw_errors(axes: Axes, panel: ErrorPanel) -> None:
    predicted, error = panel.predicted, panel.error
    visible = (error > 0.0) & (error >= np.quantile(error, _ERRORS_NOT_SHOWN)) & (predicted > 0.0)
    axes.hexbin(
        predicted[visible],
        error[visible],
        gridsize=60,
        bins="log",
        cmap=DENSITY,
        xscale="log",
        yscale="log",
        mincnt=1,
    )
    axes.plot(
        *binned_errors(predicted[visible], error[visible]),
        "o-",
        color=ORANGE,
        markersize=5,
        label="RMS error in equal bins",
    )
    ends = np.array([predicted[visible].min(), predicted[visible].max()])
    axes.plot(ends, ends, color=GREY, linewidth=1, linestyle="--", label="as predicted")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(panel.predicted_label)
    axes.set_ylabel(panel.error_label)
    axes.set_title(panel.title)
    axes.legend(frameon=False, loc="lower right")
