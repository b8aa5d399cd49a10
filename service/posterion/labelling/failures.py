"""What can go wrong with geometries and labels, apart from wrong files and settings.

Codes: ``calculator-unavailable`` (exit code 2), ``exploration-failed`` and
``labelling-incomplete`` (exit code 1).
"""

from posterion.errors import ConfigurationError, OperationError


class CalculatorUnavailable(ConfigurationError):
    """The program behind a reference calculator is not installed."""

    code = "calculator-unavailable"


class ExplorationFailed(OperationError):
    """Dynamics did not yield the geometries that were asked for."""

    code = "exploration-failed"


class LabellingIncomplete(OperationError):
    """The reference calculation of some frames failed; the others are kept."""

    code = "labelling-incomplete"
