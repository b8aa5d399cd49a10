"""What OpenMM-ML's entry point leads to.

OpenMM-ML loads its entry points while it is imported itself. Were this module to import it, a
program that imports Posterion first would find it half loaded; so the factory is one by its
method, not by its base class.
"""

from importlib import import_module
from typing import Any

from posterion_client.openmm._settings import Settings


class PosterionPotentialFactory:
    """Makes the potential ``posterion`` of OpenMM-ML."""

    def createImpl(self, name: str, **settings: object) -> Any:  # noqa: ANN401, N802 - of OpenMM-ML
        """The potential with what ``MLPotential("posterion", ...)`` was given.

        Args:
            name: ``posterion``.
            settings: Fields of `Settings`, without ``numbers`` and ``periodic``.

        Raises:
            InvalidArgument: If there is no such setting, or a value is wrong.
        """
        Settings.of({**settings, "numbers": (1,)})
        kind = import_module("posterion_client.openmm._potential").PosterionPotential
        return kind(name, settings)
