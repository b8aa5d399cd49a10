"""What the service says about the steps, beside OpenMM's other reports."""

from typing import Any, Final, TextIO

import openmm
from openmm import app, unit

from posterion_client.openmm._forces import settings_in
from posterion_client.openmm._settings import session_of

_COLUMNS: Final = "step,energy_epistemic_eV,force_max_eV_per_A,force_rms_eV_per_A,flags"


class UncertaintyReporter:
    """Writes the uncertainty and the flags of every so manieth step, separated by commas.

    Belongs into ``simulation.reporters``. Costs no request where the energy of the same step
    is known.

    Args:
        file: Written to.
        interval: Steps between two lines.
        system: Whose forces are asked about.

    Raises:
        InvalidArgument: If the system has no Posterion force, or forces that differ.
    """

    def __init__(self, file: TextIO, interval: int, system: openmm.System) -> None:
        self._file = file
        self._interval = interval
        self._settings, self._particles = settings_in(system)
        self._file.write(_COLUMNS + "\n")

    def describeNextReport(self, simulation: app.Simulation) -> dict[str, Any]:  # noqa: N802 - of OpenMM
        """When the next line is due, and what of the state it needs."""
        steps = self._interval - simulation.currentStep % self._interval
        return {"steps": steps, "periodic": False, "include": ["positions", "energy"]}

    def report(self, simulation: app.Simulation, state: openmm.State) -> None:
        """Write a line.

        Args:
            simulation: Knows the step.
            state: Its positions.

        Raises:
            PosterionError: If the service cannot answer.
        """
        positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
        if self._particles:
            positions = positions[list(self._particles)]
        cell = None
        if self._settings.periodic:
            cell = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.angstrom)
        found = session_of(self._settings).evaluate(positions, cell)
        assert found.uncertainty is not None
        known = found.uncertainty
        numbers = (known.energy_epistemic, known.force_max, known.force_rms)
        fields = [str(simulation.currentStep), *(f"{number:.6g}" for number in numbers)]
        self._file.write(",".join([*fields, " ".join(found.flags)]) + "\n")
        self._file.flush()
