"""How predictions become result documents in the caller's units."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posterion.api.backend import ModelCard, ModelIdentity, Timing
from posterion.api.errors import problem_document
from posterion.api.schemas import Output
from posterion.errors import NonFiniteResult, PosterionError
from posterion.structures.prediction import (
    Flag,
    Prediction,
    SampleOutputs,
    Uncertainty,
    UncertaintyGradient,
)
from posterion.structures.units import UnitSystem

FloatArray = NDArray[np.float64]
Document = dict[str, object]

LARGEST: Final = 1e100
"""Numbers beyond this (eV, Angstrom) count as infinite: their squares overflow."""

_EMPTY_RESULT: Final[Document] = {
    "energy": None,
    "forces": None,
    "stress": None,
    "n_samples": None,
    "uncertainty": None,
    "uncertainty_gradient": None,
    "flags": [],
    "error": None,
}


def model_document(model: ModelIdentity) -> Document:
    """Say which version answered.

    Args:
        model: The version.
    """
    return {
        "name": model.name,
        "version": model.version,
        "digest": model.digest,
        "n_samples": model.n_samples,
        "engine": model.engine,
        "engine_deviation": model.engine_deviation,
    }


def version_headers(model: ModelIdentity | ModelCard) -> dict[str, str]:
    """Say in the headers which version a reply is of.

    Args:
        model: The version.
    """
    return {"ETag": f'"{model.digest}"', "Posterion-Model": f"{model.name}@{model.version}"}


def units_document(units: UnitSystem) -> Document:
    """Echo the units of a request with the derived ones.

    Args:
        units: The caller's.
    """
    return {
        "length": units.length,
        "energy": units.energy,
        "forces": units.forces,
        "stress": units.stress,
    }


def timing_document(timing: Timing, *, total_s: float) -> Document:
    """Say where the time went, in milliseconds.

    Args:
        timing: Of the backend.
        total_s: From the arrival of the request until now, seconds.
    """
    return {
        "queue": round(timing.queue_ms, 3),
        "graph": round(timing.graph_ms, 3),
        "evaluate": round(timing.evaluate_ms, 3),
        "total": round(total_s * 1e3, 3),
    }


def finite_or_error(outcome: Prediction | PosterionError) -> Prediction | PosterionError:
    """Replace a prediction that holds NaN or infinity by the error that says so.

    Args:
        outcome: Of one structure.
    """
    if isinstance(outcome, PosterionError) or _is_finite(outcome):
        return outcome
    return NonFiniteResult("the model answered NaN or infinity for this structure")


def result_document(
    identifier: str, prediction: Prediction, *, units: UnitSystem, outputs: Sequence[Output]
) -> Document:
    """Describe the answer for one structure.

    Args:
        identifier: The structure's.
        prediction: In eV and Angstrom.
        units: Of the document.
        outputs: Which fields were asked for; the others are null.

    Returns:
        The document; arrays stay arrays for the codec.
    """
    uncertainty = prediction.uncertainty if "uncertainty" in outputs else None
    gradient = prediction.uncertainty_gradient if "uncertainty_gradient" in outputs else None
    stress = prediction.stress if "stress" in outputs else None
    flags = [flag_document(flag, units) for flag in prediction.flags]
    return {
        "id": identifier,
        "status": "flagged" if flags else "ok",
        "energy": prediction.energy * units.energy_factor if "energy" in outputs else None,
        "forces": _scaled(prediction.forces, units.forces_factor) if "forces" in outputs else None,
        "stress": None if stress is None else _scaled(stress, units.stress_factor),
        "n_samples": prediction.n_samples,
        "uncertainty": None if uncertainty is None else _uncertainty(uncertainty, units),
        "uncertainty_gradient": None if gradient is None else _gradient(gradient, units),
        "flags": flags,
        "error": None,
    }


def error_document(
    identifier: str, error: PosterionError, *, request_id: str, index: int
) -> Document:
    """Describe the error of one structure.

    Args:
        identifier: The structure's.
        error: Its faults point into the structure.
        request_id: Of the request.
        index: Of the structure in the request.

    Returns:
        A result whose every field but the error is null.
    """
    problem = problem_document(error, request_id, pointer_prefix=f"/structures/{index}")
    return {"id": identifier, "status": "error", **_EMPTY_RESULT, "error": problem}


def flag_document(flag: Flag, units: UnitSystem) -> Document:
    """Describe one flag, its value and threshold in the caller's units.

    Args:
        flag: In eV and Angstrom, or a pure number.
        units: Of the document.
    """
    factor, unit = unit_of(flag.unit, units)
    return {
        "code": flag.code,
        "severity": flag.severity,
        "atoms": list(flag.atoms),
        "metric": flag.metric,
        "value": float(flag.value) * factor,
        "threshold": float(flag.threshold) * factor,
        "unit": unit,
        "threshold_source": flag.threshold_source,
        "coverage": flag.coverage,
        "calibration_id": flag.calibration_id,
    }


def unit_of(unit: str, units: UnitSystem) -> tuple[float, str]:
    """Factor to the caller's unit and its name; other units stay as they are.

    Args:
        unit: In which a number is given, made of eV and Angstrom.
        units: The caller's.
    """
    known = {
        "eV/angstrom": (units.forces_factor, units.forces),
        "eV": (units.energy_factor, units.energy),
        "eV/atom": (units.energy_factor, f"{units.energy}/atom"),
        "angstrom": (1.0 / units.angstrom, units.length),
    }
    return known.get(unit, (1.0, unit))


def _uncertainty(uncertainty: Uncertainty, units: UnitSystem) -> Document:
    energy, force = units.energy_factor, units.forces_factor
    samples = uncertainty.samples
    return {
        "kind": "std",
        "calibrated": uncertainty.calibrated,
        "energy": {
            "epistemic": float(uncertainty.energy_epistemic) * energy,
            "aleatoric": float(uncertainty.energy_aleatoric) * energy,
            "total": uncertainty.energy_total * energy,
        },
        "forces": {
            "epistemic": _scaled(uncertainty.forces_epistemic, force),
            "aleatoric": _scaled(uncertainty.forces_aleatoric, force),
            "total": _scaled(uncertainty.forces_total, force),
            "max": uncertainty.forces_max * force,
            "rms": uncertainty.forces_rms * force,
            "argmax_atom": uncertainty.argmax_atom,
        },
        "samples": None if samples is None else _samples(samples, units),
    }


def _gradient(gradient: UncertaintyGradient, units: UnitSystem) -> Document:
    factor, unit = unit_of(gradient.unit, units)
    slope = factor * units.angstrom
    cell = gradient.cell
    return {
        "of": gradient.of,
        "value": float(gradient.value) * factor,
        "unit": unit,
        "positions": _scaled(gradient.positions, slope),
        "cell": None if cell is None else _scaled(cell, slope),
    }


def _samples(samples: SampleOutputs, units: UnitSystem) -> Document:
    forces, stress = samples.forces, samples.stress
    return {
        "energies": _scaled(samples.energies, units.energy_factor),
        "forces": None if forces is None else _scaled(forces, units.forces_factor),
        "stress": None if stress is None else _scaled(stress, units.stress_factor),
    }


def _scaled(values: FloatArray, factor: float) -> FloatArray:
    return np.ascontiguousarray(np.asarray(values, dtype=np.float64) * factor)


def _is_finite(prediction: Prediction) -> bool:
    values: list[object] = [prediction.energy, prediction.forces, prediction.stress]
    values += [number for flag in prediction.flags for number in (flag.value, flag.threshold)]
    uncertainty = prediction.uncertainty
    if uncertainty is not None:
        values += [uncertainty.energy_epistemic, uncertainty.energy_aleatoric]
        values += [uncertainty.forces_epistemic, uncertainty.forces_aleatoric]
        samples = uncertainty.samples
        if samples is not None:
            values += [samples.energies, samples.forces, samples.stress]
    gradient = prediction.uncertainty_gradient
    if gradient is not None:
        values += [gradient.value, gradient.positions, gradient.cell]
    return all(_is_moderate(value) for value in values if value is not None)


def _is_moderate(value: object) -> bool:
    if isinstance(value, float):
        return abs(value) <= LARGEST
    array = np.asarray(value, dtype=np.float64)
    # The sum of the squares says it for nearly all; it is NaN or large for the others.
    return bool(np.vdot(array, array) <= LARGEST) or bool((np.abs(array) <= LARGEST).all())
