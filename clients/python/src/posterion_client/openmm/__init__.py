"""How OpenMM runs on Posterion: forces, the ML part of mixed systems, and biased uncertainty.

>>> from openmmml import MLPotential
>>> system = MLPotential("posterion", url="http://127.0.0.1:8000").createSystem(topology)

OpenMM-ML finds the potential by its entry point. Without OpenMM-ML, `posterion_force` makes an
`openmm.PythonForce`, and `uncertainty_variable` one whose energy is a number of the uncertainty
and whose force is the negative gradient of it: a collective variable for `CustomCVForce`.

What OpenMM keeps, and writes into a System's XML, are the settings; the connection is opened by
the first step of each process. All forces with equal settings share one session, which answers
the same positions once. Written for OpenMM 8.6 and OpenMM-ML 1.8.
"""

from posterion_client.openmm._factory import PosterionPotentialFactory
from posterion_client.openmm._forces import posterion_force, settings_in, uncertainty_variable
from posterion_client.openmm._reporter import UncertaintyReporter
from posterion_client.openmm._settings import Settings, session_of

__all__ = [
    "PosterionPotentialFactory",
    "Settings",
    "UncertaintyReporter",
    "posterion_force",
    "session_of",
    "settings_in",
    "uncertainty_variable",
]
