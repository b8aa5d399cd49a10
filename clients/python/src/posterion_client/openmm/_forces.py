"""Forces and collective variables of OpenMM, and the way back from a system to its settings."""

import pickle
import re
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from typing import Final

import openmm

from posterion_client._errors import InvalidArgument
from posterion_client.openmm._functions import (
    Energy,
    Variable,
    energy_function,
    variable_function,
)
from posterion_client.openmm._settings import Settings

_NAME: Final = "Posterion"
_PICKLE: Final = re.compile(r'\bfunction="([0-9a-f]+)"')


def posterion_force(settings: Settings, particles: Sequence[int] = ()) -> openmm.PythonForce:
    """The energy and the forces of particles.

    Args:
        settings: What is asked.
        particles: Their indices in the system; none = all.

    Raises:
        InvalidArgument: If particles and atomic numbers do not belong together.
    """
    return _python_force(Energy(settings), particles)


def uncertainty_variable(settings: Settings, particles: Sequence[int] = ()) -> openmm.PythonForce:
    """A number of the uncertainty as a collective variable.

    Its value is in eV/Angstrom, eV, or of no unit, as the API states it, whatever OpenMM's
    units; give it to ``CustomCVForce.addCollectiveVariable``.

    Args:
        settings: What is asked, with ``gradient_of``.
        particles: Their indices in the system; none = all.

    Raises:
        InvalidArgument: If the settings ask for no gradient.
    """
    if settings.gradient_of is None:
        raise InvalidArgument("a variable needs gradient_of in its settings")
    return _python_force(Variable(settings), particles)


def settings_in(system: openmm.System) -> tuple[Settings, tuple[int, ...]]:
    """What the forces of a system ask, and about which particles.

    Args:
        system: Made by OpenMM-ML, by hand, or read from XML.

    Returns:
        Arguments for `posterion_force` and `uncertainty_variable`.

    Raises:
        InvalidArgument: If the system has no such force, or forces that differ.
    """
    found = {each for force in system.getForces() for each in _asked(force)}
    if len(found) != 1:
        raise InvalidArgument(
            f"expected a system with one Posterion force, or several that ask the same; "
            f"found {len(found)}"
        )
    return found.pop()


def _asked(force: openmm.Force) -> Iterator[tuple[Settings, tuple[int, ...]]]:
    if isinstance(force, openmm.CustomCVForce):
        for index in range(force.getNumCollectiveVariables()):
            yield from _asked(force.getCollectiveVariable(index))
    elif isinstance(force, openmm.PythonForce) and force.getName() == _NAME:
        text = _PICKLE.search(openmm.XmlSerializer.serialize(force))
        assert text is not None
        yield _Ours(BytesIO(bytes.fromhex(text[1]))).load().settings, tuple(force.getParticles())


class _Ours(pickle.Unpickler):
    """Reads our own functions and nothing else, though OpenMM has read the bytes before."""

    def find_class(self, module: str, name: str) -> Callable[..., Energy | Variable]:
        """One of the two that `posterion_client.openmm._functions` pickles.

        Raises:
            pickle.UnpicklingError: If it is another one.
        """
        for function in (energy_function, variable_function):
            if (module, name) == (function.__module__, function.__name__):
                return function
        raise pickle.UnpicklingError(f"a force of Posterion does not need {module}.{name}")


def _python_force(compute: Energy | Variable, particles: Sequence[int]) -> openmm.PythonForce:
    settings = compute.settings
    if particles and len(particles) != len(settings.numbers):
        raise InvalidArgument(
            f"{len(particles)} particles were given for {len(settings.numbers)} atomic numbers"
        )
    force = openmm.PythonForce(compute)
    force.setName(_NAME)
    force.setUsesPeriodicBoundaryConditions(settings.periodic)
    if particles:
        force.setParticles(list(particles))
    return force
