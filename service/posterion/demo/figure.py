"""The results of the demo as a picture: who is uncertain, and what the dynamics did."""

from io import BytesIO
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from posterion.demo.answers import Answer, Answers
from posterion.demo.dynamics import TEMPERATURE_K, Trajectory

BLUE: Final = "#1f5f99"
ORANGE: Final = "#c8641b"
GREY: Final = "#6b7280"
DOTS_PER_INCH: Final = 144

_ELEMENTS: Final = {"C": "#374151", "O": "#c0392b", "H": "#9fc5e8"}
_SPREAD_OF_DOTS: Final = 0.36


def draw(answers: Answers, trajectory: Trajectory) -> bytes:
    """Draw the picture.

    Args:
        answers: About the four structures.
        trajectory: The run at constant energy.

    Returns:
        A PNG.
    """
    figure = Figure(figsize=(10.5, 4.8), layout="constrained")
    panels = figure.subplot_mosaic(
        [["structures", "energy"], ["structures", "spread"]],
        width_ratios=(1.0, 1.15),
        height_ratios=(1.6, 1.0),
    )
    _draw_structures(panels["structures"], answers)
    _draw_energy(panels["energy"], trajectory)
    _draw_spread(panels["spread"], trajectory, answers.force_threshold)
    figure.suptitle(
        f"Ethanol: {answers.model.n_samples} posterior samples, version {answers.model.version}",
        fontsize=11,
    )
    target = BytesIO()
    figure.savefig(target, format="png", dpi=DOTS_PER_INCH)
    return target.getvalue()


def _draw_structures(axes: Axes, answers: Answers) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    for place, answer in enumerate(answers.items):
        _draw_atoms(axes, place, answer)
    _draw_threshold(axes, answers.force_threshold)
    axes.annotate(
        "flagged",
        (1.0, answers.force_threshold),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 4),
        textcoords="offset points",
        ha="right",
        color=ORANGE,
        fontsize=9,
    )
    for symbol, colour in _ELEMENTS.items():
        axes.scatter([], [], color=colour, edgecolors="black", linewidths=0.4, label=symbol)
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    axes.set_xlim(-0.5, len(answers.items) - 0.5)
    axes.set_xticks(range(len(answers.items)), [each.subject.title for each in answers.items])
    axes.set_ylabel("epistemic std of the force on an atom (eV/Å)")
    axes.set_title("One request, four structures", fontsize=10)
    _tidy(axes)


def _draw_atoms(axes: Axes, place: int, answer: Answer) -> None:
    """One dot per atom; a word where there is no answer."""
    prediction = answer.prediction
    if prediction is None or prediction.uncertainty is None:
        axes.annotate(
            "error:\nunsupported-\nelement",
            (place, 0.6),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="center",
            color=GREY,
            fontsize=9,
        )
        return
    per_atom = np.sqrt(np.mean(prediction.uncertainty.forces.epistemic**2, axis=1))
    offsets = np.linspace(-_SPREAD_OF_DOTS, _SPREAD_OF_DOTS, len(per_atom))
    colours = [_ELEMENTS[symbol] for symbol in answer.subject.atoms.symbols]
    axes.scatter(
        place + offsets, per_atom, color=colours, edgecolors="black", linewidths=0.4, s=34, zorder=3
    )


def _draw_energy(axes: Axes, trajectory: Trajectory) -> None:
    potential = np.array([each.potential for each in trajectory.moments])
    epistemic = 1e3 * np.array([each.energy_epistemic for each in trajectory.moments])
    start = trajectory.total[0]
    shown = 1e3 * (potential - start)
    axes.fill_between(
        trajectory.time_fs,
        shown - epistemic,
        shown + epistemic,
        color=BLUE,
        alpha=0.25,
        linewidth=0,
    )
    axes.plot(trajectory.time_fs, shown, color=BLUE, label="potential, ± epistemic std")
    axes.plot(trajectory.time_fs, 1e3 * (trajectory.total - start), color=ORANGE, label="total")
    axes.set_ylabel("energy (meV)")
    axes.set_title(
        f"NVE from {TEMPERATURE_K:g} K over HTTP: drift {trajectory.drift_mev_per_atom:.2f} "
        f"meV/atom, {trajectory.call_ms:.0f} ms per step",
        fontsize=10,
    )
    axes.margins(x=0.0, y=0.2)
    axes.tick_params(labelbottom=False)
    axes.legend(loc="lower right", frameon=False, fontsize=9, ncols=2)
    _tidy(axes)


def _draw_spread(axes: Axes, trajectory: Trajectory, threshold: float) -> None:
    spread = [each.force_epistemic_max for each in trajectory.moments]
    axes.plot(trajectory.time_fs, spread, color=BLUE)
    _draw_threshold(axes, threshold)
    axes.set_ylim(0.0, 1.2 * max(threshold, *spread))
    axes.margins(x=0.0)
    axes.set_xlabel("time (fs)")
    axes.set_ylabel("force std (eV/Å)")
    _tidy(axes)


def _draw_threshold(axes: Axes, threshold: float) -> None:
    axes.axhline(threshold, color=ORANGE, linestyle="--", linewidth=1.2)
    limits = axes.get_ylim()
    axes.axhspan(threshold, 1e3 * threshold, color=ORANGE, alpha=0.08, linewidth=0)
    axes.set_ylim(min(limits[0], 0.5 * threshold), max(limits[1], 1.6 * threshold))


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e5e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
