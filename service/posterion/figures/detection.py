"""How well uncertainties find errors, or strange structures: ROC curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from posterion.figures.canvas import GREY, UNCERTAINTY_COLOURS, panels, png
from posterion.uncertainty.judged import FloatArray, IntArray
from posterion.uncertainty.ranking import BoolArray, Detection


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DetectionPanel:
    """What is to be found, and the uncertainties that should find it.

    Attributes:
        title: What is to be found.
        uncertainty: By name, shape ``(n,)`` each.
        positive: Shape ``(n,)``.
        frame: Shape ``(n,)``.
    """

    title: str
    uncertainty: Mapping[str, FloatArray]
    positive: BoolArray
    frame: IntArray


def roc_figure(shown: Sequence[DetectionPanel]) -> bytes:
    """Draw the curve of each uncertainty; a panel with one class says so.

    Args:
        shown: From left to right.

    Returns:
        A PNG.
    """
    figure, axes = panels(len(shown))
    for one, panel in zip(axes, shown, strict=True):
        one.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="no skill")
        n_positive = int(panel.positive.sum())
        if 0 < n_positive < panel.positive.size:
            weights = np.ones(int(panel.frame.max()) + 1)
            # Later curves are thinner, so that curves on top of each other are all seen.
            for place, (name, values) in enumerate(panel.uncertainty.items()):
                detection = Detection(values, panel.positive, panel.frame)
                false, true = detection.roc_curve()
                one.plot(
                    false,
                    true,
                    color=UNCERTAINTY_COLOURS[name],
                    linewidth=3.2 - 0.8 * place,
                    label=f"{name} {detection.roc_area(weights):.3f}",
                )
        else:
            which = "none" if n_positive == 0 else "all"
            one.text(0.5, 0.6, f"{which} of {panel.positive.size}", ha="center", color=GREY)
        one.set_xlim(-0.01, 1.0)
        one.set_ylim(0.0, 1.01)
        one.set_aspect("equal")
        one.set_xlabel("fraction of the others above the threshold")
        one.set_ylabel("fraction found")
        one.set_title(f"{panel.title}: {n_positive} of {panel.positive.size}", fontsize=10)
        one.legend(frameon=False, loc="lower right", title="area under the curve")
    return png(figure)
