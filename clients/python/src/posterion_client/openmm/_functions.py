"""What OpenMM calls at every evaluation, and pickles into a System's XML.

The pickles hold plain data by name, so that XML written today can be read when more settings
exist; they refer to `energy_function` and `variable_function` in this file, which must stay.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from posterion_client._errors import PosterionError
from posterion_client._halting import halting_flags
from posterion_client.md import Evaluation
from posterion_client.openmm._settings import Settings, session_of

FloatArray = NDArray[np.float64]

KJ_MOL_PER_EV: Final = 96.48533288249877
"""Of the constants that ASE takes by default (CODATA 2014), as everywhere in Posterion."""
ANGSTROM_PER_NM: Final = 10.0


@dataclass(frozen=True, slots=True)
class Energy:
    """The function of a force."""

    settings: Settings

    def __call__(self, state: openmm.State) -> tuple[float, FloatArray]:
        """Energy in kJ/mol and forces in kJ/(mol nm)."""
        found = evaluated(self.settings, state)
        factor = KJ_MOL_PER_EV * ANGSTROM_PER_NM
        return found.energy * KJ_MOL_PER_EV, found.forces * factor

    def __reduce__(self) -> tuple[Callable[..., "Energy"], tuple[Mapping[str, Any]]]:
        """Plain data by name."""
        return energy_function, (self.settings.plain(),)


@dataclass(frozen=True, slots=True)
class Variable:
    """The function of a collective variable."""

    settings: Settings

    def __call__(self, state: openmm.State) -> tuple[float, FloatArray]:
        """The number, and minus its derivatives per nm."""
        found = evaluated(self.settings, state).uncertainty_gradient
        assert found is not None
        return found.value, found.positions * -ANGSTROM_PER_NM

    def __reduce__(self) -> tuple[Callable[..., "Variable"], tuple[Mapping[str, Any]]]:
        """Plain data by name."""
        return variable_function, (self.settings.plain(),)


def energy_function(settings: Mapping[str, Any]) -> Energy:
    """Make the function of a force from its pickle.

    Args:
        settings: By name.
    """
    return Energy(Settings.of(settings))


def variable_function(settings: Mapping[str, Any]) -> Variable:
    """Make the function of a collective variable from its pickle.

    Args:
        settings: By name.
    """
    return Variable(Settings.of(settings))


def evaluated(settings: Settings, state: openmm.State) -> Evaluation:
    """What the service says about a state.

    Args:
        settings: What is asked.
        state: Has the positions of the particles, and the box where it counts.

    Raises:
        RuntimeError: If the service cannot answer, or flags end the run. OpenMM keeps nothing
            but the text.
    """
    positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    cell = None
    if settings.periodic:
        cell = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.angstrom)
    try:
        found = session_of(settings).evaluate(positions, cell)
    except PosterionError as error:
        raise RuntimeError(f"posterion: {error}") from error
    halts = halting_flags(settings.halt, candidate=found.candidate_flags, failed=found.failed_flags)
    if halts:
        raise RuntimeError(f"posterion: flags {', '.join(halts)} end the run")
    return found
