"""Which pictures show an evaluation: reliability, errors, ROC curves, elements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from posterion.evaluation.scores import Judgement, Scores
from posterion.figures.calibration import ErrorPanel, error_figure, reliability_figure
from posterion.figures.detection import DetectionPanel, roc_figure
from posterion.figures.elements import ElementErrors, element_figure
from posterion.uncertainty.judged import Judged


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shown:
    """One judged file.

    Attributes:
        name: Of the file, without its suffix.
        judgement: The bank's answers beside the references.
        scores: Their scores.
    """

    name: str
    judgement: Judgement
    scores: Scores


def draw(
    inside: Shown, outside: Shown | None, *, bank: str, thresholds: Sequence[float]
) -> dict[str, bytes]:
    """Draw all pictures.

    Args:
        inside: The ordinary frames.
        outside: The frames to be told from them, if any.
        bank: Name of the bank, for the titles.
        thresholds: Errors above these are to be found, eV/Angstrom.

    Returns:
        File name to PNG.
    """
    shown = [inside] if outside is None else [inside, outside]
    return {
        "reliability.png": _reliability(shown, bank=bank),
        "error_against_uncertainty.png": error_figure(
            [
                _error_panel(one, kind)
                for one in shown
                for kind in ("total", "epistemic")
                if one.judgement.levels["atom"].uncertainty[kind].any()
            ]
        ),
        "roc.png": roc_figure(_detections(inside, outside, thresholds)),
        "elements.png": element_figure([(one.name, _elements(one)) for one in shown]),
    }


def _reliability(shown: Sequence[Shown], *, bank: str) -> bytes:
    """One curve for the forces of each file, and one for the energies if it has any."""
    curves = []
    for one in shown:
        curves.append((f"forces, {one.name}", one.judgement.forces))
        if one.scores.n_energies:
            curves.append((f"energies, {one.name}", one.judgement.energies))
    n_frames = shown[0].scores.n_energies or shown[0].scores.n_frames
    return reliability_figure(curves, n_frames=n_frames, title=f"Reliability of {bank}")


def _error_panel(one: Shown, kind: str) -> ErrorPanel:
    atoms = one.judgement.levels["atom"]
    return ErrorPanel(
        title=one.name,
        # The length of a vector of three components, each with this standard deviation.
        predicted=sqrt(3.0) * atoms.uncertainty[kind],
        error=atoms.error,
        predicted_label=f"predicted RMS |ΔF| of an atom, {kind} (eV/Å)",
        error_label="|ΔF| of an atom (eV/Å)",
    )


def _detections(
    inside: Shown, outside: Shown | None, thresholds: Sequence[float]
) -> list[DetectionPanel]:
    atoms = inside.judgement.levels["atom"]
    found = [_above(atoms, threshold, inside.name) for threshold in thresholds]
    if outside is not None:
        found += [_above(outside.judgement.levels["atom"], x, outside.name) for x in thresholds]
        found += [
            _novel(
                inside.judgement,
                outside.judgement,
                level,
                f"{outside.name}\nor {inside.name}? {label}",
            )
            for level, label in (("atom", "atoms"), ("structure_max", "frames by worst atom"))
        ]
    return found


def _above(atoms: Judged, threshold: float, name: str) -> DetectionPanel:
    return DetectionPanel(
        title=f"{name}\natoms with |ΔF| > {threshold:g} eV/Å",
        uncertainty=atoms.uncertainty,
        positive=atoms.error > threshold,
        frame=atoms.frame,
    )


def _novel(inside: Judgement, outside: Judgement, level: str, title: str) -> DetectionPanel:
    ordinary, strange = inside.levels[level], outside.levels[level]
    return DetectionPanel(
        title=title,
        uncertainty=_joined(ordinary.uncertainty, strange.uncertainty),
        positive=np.repeat([False, True], [ordinary.error.size, strange.error.size]),
        frame=np.concatenate([ordinary.frame, inside.n_frames + strange.frame]),
    )


def _joined(
    first: Mapping[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]],
    second: Mapping[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]],
) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    return {name: np.concatenate([values, second[name]]) for name, values in first.items()}


def _elements(one: Shown) -> list[ElementErrors]:
    found = []
    for symbol, n_atoms in one.scores.elements.items():
        rmse = one.scores.estimates[f"element/{symbol}/rmse"]
        sharpness = one.scores.estimates[f"element/{symbol}/sharpness"]
        assert rmse.value is not None, "an element that is listed has atoms"
        assert sharpness.value is not None, "an element that is listed has atoms"
        interval = None if rmse.low is None or rmse.high is None else (rmse.low, rmse.high)
        found.append(
            ElementErrors(
                symbol=symbol,
                n_atoms=n_atoms,
                rmse=rmse.value,
                sharpness=sharpness.value,
                interval=interval,
            )
        )
    return found
