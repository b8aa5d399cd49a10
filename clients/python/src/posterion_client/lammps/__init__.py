"""How LAMMPS runs on Posterion: ``posterion-client lammps``, or `LammpsRun` from Python.

The input script defines ``fix ID all external pf/callback 1 1``; the runner answers it.
"""

from posterion_client.lammps._force import VECTOR
from posterion_client.lammps._runner import PER_ATOM, LammpsRun

__all__ = ["PER_ATOM", "VECTOR", "LammpsRun"]
