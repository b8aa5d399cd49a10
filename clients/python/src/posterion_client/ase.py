"""How ASE runs on Posterion: a calculator, an observer, and bands in one request.

>>> from ase.build import molecule
>>> from posterion_client.ase import PosterionCalculator
>>> atoms = molecule("CH3CH2OH")
>>> atoms.calc = PosterionCalculator()
>>> atoms.get_forces()  # doctest: +SKIP
>>> atoms.calc.uncertainty.forces.max  # doctest: +SKIP
"""

from posterion_client._ase_band import BatchNEB, evaluate_together
from posterion_client._ase_calculator import MD_RETRY, PosterionCalculator
from posterion_client._ase_observer import UncertaintyObserver, record_uncertainty

__all__ = [
    "MD_RETRY",
    "BatchNEB",
    "PosterionCalculator",
    "UncertaintyObserver",
    "evaluate_together",
    "record_uncertainty",
]
