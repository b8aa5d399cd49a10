"""What all pictures have in common: colours, panels, and how they become PNG bytes."""

from io import BytesIO
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

BLUE: Final = "#1f5f99"
ORANGE: Final = "#c8641b"
GREEN: Final = "#3f8f5f"
VIOLET: Final = "#7a4fa3"
GREY: Final = "#6b7280"

DENSITY: Final = LinearSegmentedColormap.from_list("density", ["#a8c8e6", BLUE, "#0b2f52"])
"""From a blue that a single value is seen in to a dark one."""

UNCERTAINTY_COLOURS: Final = {
    "epistemic": BLUE,
    "total": ORANGE,
    "aleatoric": GREEN,
    "latent": VIOLET,
}

_DOTS_PER_INCH: Final = 144


def panels(n_panels: int, *, n_columns: int = 3) -> tuple[Figure, list[Axes]]:
    """A figure of panels, row by row, at most ``n_columns`` side by side."""
    columns = min(n_panels, n_columns)
    rows = -(-n_panels // columns)
    figure = Figure(figsize=(5.2 * columns, 4.6 * rows), layout="constrained", facecolor="white")
    axes = [figure.add_subplot(rows, columns, place + 1) for place in range(n_panels)]
    for one in axes:
        one.grid(visible=True, color="#e5e7eb", linewidth=0.6)
        one.set_axisbelow(True)
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def png(figure: Figure) -> bytes:
    """The same figure gives the same bytes."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()
