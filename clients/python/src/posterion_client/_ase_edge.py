"""What an answer, and an error, is called in ASE."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from ase.calculators.calculator import CalculationFailed, CalculatorError, InputError
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from posterion_client._errors import (
    EvaluationFailed,
    InvalidArgument,
    ModelChanged,
    NonFiniteResult,
    PosterionError,
    QuotaExceeded,
    RequestError,
    StructureError,
)
from posterion_client._results import Prediction, SampleOutputs, Uncertainty

Value = float | NDArray[np.float64]

STANDARD_DEVIATIONS: Final[Mapping[str, Callable[[Uncertainty], Value]]] = {
    "energy_std": lambda u: u.energy.total,
    "energy_epistemic_std": lambda u: u.energy.epistemic,
    "energy_aleatoric_std": lambda u: u.energy.aleatoric,
    "forces_std": lambda u: u.forces.total,
    "forces_epistemic_std": lambda u: u.forces.epistemic,
    "forces_aleatoric_std": lambda u: u.forces.aleatoric,
}
"""Names of the standard deviations, eV and eV/Angstrom."""


def _stress_variance(samples: SampleOutputs) -> Value | None:
    """Spread over the samples in Voigt order; not calibrated, since no stress is labelled."""
    if samples.stress is None or len(samples.stress) < 2:
        return None
    variance: NDArray[np.float64] = full_3x3_to_voigt_6_stress(  # type: ignore[no-untyped-call] # ASE's
        samples.stress.var(axis=0, ddof=1)
    )
    return variance


_SAMPLES: Final[Mapping[str, Callable[[SampleOutputs], Value | None]]] = {
    "energy_comm": lambda samples: samples.energies,
    "forces_comm": lambda samples: samples.forces,
    "stress_var": _stress_variance,
}
# Names under which scripts written for committees of MACE models look.
NAMED_VALUES: Final = frozenset({*STANDARD_DEVIATIONS, *_SAMPLES, "energy_var"})

_FAULT_OF_INPUT: Final = (StructureError, RequestError, InvalidArgument)
_FAULT_OF_RUN: Final = (EvaluationFailed, NonFiniteResult, ModelChanged, QuotaExceeded)


def standard_results(prediction: Prediction) -> dict[str, Value]:
    """The properties every ASE writer knows: energies, forces, stress in Voigt order."""
    results: dict[str, Value] = {
        "energy": prediction.energy,
        "free_energy": prediction.energy,
        "forces": prediction.forces.copy(),
    }
    if prediction.stress is not None:
        results["stress"] = full_3x3_to_voigt_6_stress(  # type: ignore[no-untyped-call] # ASE's
            prediction.stress
        )
    return results


def named_value(name: str, uncertainty: Uncertainty) -> Value | None:
    """One of `NAMED_VALUES`; None where the samples it needs were not asked for."""
    if name == "energy_var":
        return uncertainty.energy.epistemic**2
    if name in STANDARD_DEVIATIONS:
        return STANDARD_DEVIATIONS[name](uncertainty)
    return None if uncertainty.samples is None else _SAMPLES[name](uncertainty.samples)


def ase_error(error: PosterionError) -> CalculatorError:
    """`InputError` if another input would help, else `CalculationFailed`."""
    if isinstance(error, _FAULT_OF_INPUT) and not isinstance(error, _FAULT_OF_RUN):
        return InputError(str(error))
    return CalculationFailed(str(error))
