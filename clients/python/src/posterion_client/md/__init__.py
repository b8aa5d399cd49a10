"""What MD codes build on: forces step by step, held to one sample set.

>>> from posterion_client.md import MDSession
>>> with MDSession(["O", "H", "H"]) as session:  # doctest: +SKIP
...     now = session.evaluate([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
...     print(now.energy, now.forces, now.uncertainty.force_max, now.flags)

Needs the standard library and numpy alone. Units: eV, Angstrom; stress positive = tension.
"""

from posterion_client.md._batches import BatchEvaluation, BatchSession
from posterion_client.md._channels import Transport
from posterion_client.md._evaluation import Evaluation, StepGradient, StepUncertainty
from posterion_client.md._frames import Scalar
from posterion_client.md._session import MD_RETRY, MDSession, Precision

__all__ = [
    "MD_RETRY",
    "BatchEvaluation",
    "BatchSession",
    "Evaluation",
    "MDSession",
    "Precision",
    "Scalar",
    "StepGradient",
    "StepUncertainty",
    "Transport",
]
