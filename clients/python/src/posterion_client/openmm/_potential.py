"""The potential ``posterion`` of OpenMM-ML."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import openmm
from openmm import app
from openmmml.mlpotential import MLPotentialImpl

from posterion_client._errors import InvalidArgument
from posterion_client.openmm._forces import posterion_force
from posterion_client.openmm._settings import Settings

_OF_A_SYSTEM: Final[Mapping[str, str]] = {
    "charge": "charge",
    "multiplicity": "spin_multiplicity",
    "spin_multiplicity": "spin_multiplicity",
}
"""Arguments of ``createSystem`` that are read, and the settings they are. Other potentials of
OpenMM-ML know the first two; further arguments, such as ``mlLongRange``, are an embedding's."""


class PosterionPotential(MLPotentialImpl):  # type: ignore[misc] # of OpenMM-ML, not installed here
    """Adds the service's force to the systems that OpenMM-ML makes.

    Args:
        name: ``posterion``.
        settings: Fields of `Settings`, without ``numbers`` and ``periodic``.
    """

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.name = name
        self._settings = settings

    def addForces(  # noqa: N802 - of OpenMM-ML
        self,
        topology: app.Topology,
        system: openmm.System,
        atoms: Iterable[int] | None,
        forceGroup: int,  # noqa: N803 - of OpenMM-ML
        **settings: object,
    ) -> None:
        """Add the force of some atoms, or all, to a system.

        Args:
            topology: Knows the elements.
            system: Gets the force.
            atoms: Their indices; None = all.
            forceGroup: Of the force.
            settings: ``charge`` and ``spin_multiplicity`` of these atoms.

        Raises:
            InvalidArgument: If an atom has no element, or a value is wrong.
        """
        every = list(topology.atoms())
        particles = [] if atoms is None else list(atoms)
        chosen = [every[index] for index in particles] if atoms is not None else every
        unknown = [atom.index for atom in chosen if atom.element is None]
        if unknown:
            raise InvalidArgument(f"atom {unknown[0]} of the topology has no element")
        box = topology.getPeriodicBoxVectors() is not None
        given = {_OF_A_SYSTEM[name]: settings[name] for name in _OF_A_SYSTEM if name in settings}
        asked = {
            **self._settings,
            **given,
            "numbers": tuple(atom.element.atomic_number for atom in chosen),
            "periodic": box or system.usesPeriodicBoundaryConditions(),
        }
        force = posterion_force(Settings.of(asked), particles)
        force.setForceGroup(forceGroup)
        system.addForce(force)

    def getMLLongRange(self) -> bool:  # noqa: N802 - of OpenMM-ML
        """Every network of the service ends at its cutoff; mixed periodic systems ask this."""
        return False
