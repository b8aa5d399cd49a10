"""The class that i-PI loads, in its own process (``ffdirect``) or in its Python driver."""

import traceback

import numpy as np
from ipi.utils.messages import info, verbosity
from numpy.typing import NDArray

from posterion_client._errors import InvalidArgument, PosterionError
from posterion_client.ipi._ending import end_run
from posterion_client.ipi._evaluator import BeadEvaluator, Result
from posterion_client.ipi._settings import read_settings

FloatArray = NDArray[np.float64]


class PosterionDriver:
    """Energies, forces and virials for i-PI.

    Args:
        unnamed: Nothing: parameters are named.
        parameters: See `posterion_client.ipi._settings.DriverSettings`.

    Raises:
        SystemExit: If a parameter is wrong.
    """

    def __init__(self, *unnamed: object, **parameters: object) -> None:
        try:
            if unnamed:
                raise InvalidArgument(f"parameters are given as name=value, got {unnamed[0]!r}")
            self._evaluate = BeadEvaluator(read_settings(parameters), _say)
        except PosterionError as error:
            raise SystemExit(f"posterion: {error}") from error

    def __call__(
        self, cell: "FloatArray | list[FloatArray]", pos: "FloatArray | list[FloatArray]"
    ) -> "Result | list[Result]":
        """Evaluate one structure, or a list of beads in one request.

        Args:
            cell: Shape ``(3, 3)``, columns are the lattice vectors, bohr; or a list of them.
            pos: Shape ``(n_atoms, 3)``, bohr; or a list of them.

        Returns:
            Energy, forces, virial (hartree and bohr) and a JSON object, for each structure.
        """
        # Both are lists or neither is: i-PI batches the ones with the others.
        try:
            found = self._evaluate(_listed(cell), _listed(pos))
        except PosterionError as error:
            end_run(f"posterion: {error}")
        except Exception:  # noqa: BLE001 - in a polling thread it would leave i-PI waiting for ever
            end_run(f"posterion: {traceback.format_exc()}")
        return found if isinstance(cell, list) else found[0]


def _listed(value: "FloatArray | list[FloatArray]") -> list[FloatArray]:
    return value if isinstance(value, list) else [value]


def _say(line: str) -> None:
    info(f" @posterion: {line}", verbosity.low)
