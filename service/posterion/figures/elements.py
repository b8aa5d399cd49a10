"""Which elements a bank errs on, and whether it knows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from posterion.figures.canvas import BLUE, GREY, ORANGE, panels, png


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementErrors:
    """Errors of the force components on the atoms of one element.

    Attributes:
        symbol: Of the element.
        n_atoms: Atoms seen.
        rmse: eV/Angstrom.
        sharpness: Root mean square of the predicted standard deviation, eV/Angstrom.
        interval: Ends of the 95 % interval of ``rmse``, eV/Angstrom; None without one.
    """

    symbol: str
    n_atoms: int
    rmse: float
    sharpness: float
    interval: tuple[float, float] | None


def element_figure(shown: Sequence[tuple[str, Sequence[ElementErrors]]]) -> bytes:
    """Draw observed and predicted root mean square error of each element.

    Args:
        shown: Title and elements of each panel, from left to right.

    Returns:
        A PNG.
    """
    figure, axes = panels(len(shown))
    for one, (title, elements) in zip(axes, shown, strict=True):
        places = np.arange(len(elements))
        observed = np.array([1e3 * each.rmse for each in elements])
        predicted = np.array([1e3 * each.sharpness for each in elements])
        one.bar(places - 0.2, observed, width=0.38, color=BLUE, label="observed RMSE")
        one.bar(places + 0.2, predicted, width=0.38, color=ORANGE, label="predicted (total)")
        for place, each in zip(places, elements, strict=True):
            if each.interval is not None:
                low, high = each.interval
                one.vlines(place - 0.2, 1e3 * low, 1e3 * high, color=GREY, linewidth=1.5)
        one.set_xticks(places, [f"{each.symbol}\n{each.n_atoms} atoms" for each in elements])
        one.set_ylim(0.0, 1.25 * one.get_ylim()[1])
        one.grid(visible=False, axis="x")
        one.set_ylabel("force component (meV/Å)")
        one.set_title(title)
        one.legend(frameon=False, loc="upper left", ncols=2)
    return png(figure)
