"""What the chains' logs show: a plot of loss and temperature, and averages while sampling."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Log = Mapping[str, Sequence[str]]


def read_log(path: Path) -> Log:
    """Read a chain's CSV log, column by column."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def column(log: Log, name: str, *, phase: str | None = None) -> FloatArray:
    """One numeric column, all rows or those of a phase, shape ``(n_rows,)``."""
    return np.array(
        [
            float(value)
            for value, row_phase in zip(log[name], log["phase"], strict=True)
            if phase is None or row_phase == phase
        ]
    )


def loss_drift(log: Log, *, n_labels: float) -> float:
    """Change of the potential between the halves of sampling, per label of a frame.

    A change of 0.05 nat per label is about that of an error scale moved by 5 %. What noise
    explains is taken off: two standard errors, from eight blocks per half, because rows are
    correlated over a relaxation time.

    Args:
        log: Log of a chain.
        n_labels: Mean number of labels of a frame, 1 + 3 n_atoms.

    Returns:
        Absolute change, nat per label; 0 if sampling is too short to tell.
    """
    values = column(log, "potential", phase="sampling")
    n_blocks = 16
    if len(values) < n_blocks:
        return 0.0
    blocks = values[: len(values) // n_blocks * n_blocks].reshape(n_blocks, -1).mean(axis=1)
    early, late = blocks[: n_blocks // 2], blocks[n_blocks // 2 :]
    error = math.sqrt((early.var(ddof=1) + late.var(ddof=1)) / (n_blocks // 2))
    return float(max(abs(late.mean() - early.mean()) - 2.0 * error, 0.0) / n_labels)


def history_figure(logs: Mapping[str, Log]) -> bytes:
    """Plot force error, potential and, of chains, the temperature against the steps.

    Args:
        logs: Name of a member to its log.

    Returns:
        A PNG.
    """
    warm = any(np.isfinite(column(log, "t_kin")).any() for log in logs.values())
    figure = Figure(figsize=(8.0, 7.5 if warm else 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3 if warm else 2, 1, sharex=True)
    colours = mpl.colormaps["viridis"](np.linspace(0.1, 0.85, max(len(logs), 2)))
    for (name, log), colour in zip(logs.items(), colours, strict=False):
        steps = column(log, "step")
        style = {"color": colour, "linewidth": 0.9, "label": name}
        axes[0].semilogy(steps, 1000 * column(log, "force_mae"), **style)
        axes[1].plot(steps, column(log, "potential"), **style)
        if warm:
            axes[2].plot(steps, column(log, "t_kin"), **style)
            asked = column(log, "temperature")
            axes[2].plot(steps, asked, color="0.5", linewidth=0.8, linestyle="--")
        sampling = steps[np.array(log["phase"]) == "sampling"]
        if len(sampling):
            for axis in axes:
                axis.axvspan(sampling[0], sampling[-1], color=colour, alpha=0.06, linewidth=0)
    axes[0].set_ylabel("minibatch force MAE\n(meV/Å)")
    axes[0].legend(fontsize="small", ncols=4)
    axes[1].set_ylabel("potential per frame $U/N$\n(nat)")
    settled = [column(log, "potential")[len(log["step"]) // 10 :] for log in logs.values()]
    if any(len(values) for values in settled):
        everything = np.concatenate(settled)
        axes[1].set_ylim(*np.percentile(everything, [0.5, 99.0]) + np.array([-2.0, 2.0]))
    if warm:
        axes[2].set_ylabel("kinetic temperature $T_{kin}$\n(dashed: asked for)")
    axes[-1].set_xlabel("step (shaded: sampling)" if warm else "step")
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=130)
    return target.getvalue()
