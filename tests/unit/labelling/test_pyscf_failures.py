"""What PySCF cannot compute is a reason, not a traceback."""

import pytest
from ase import Atoms
from ase.build import bulk, molecule

from posterion.errors import ConfigurationError
from posterion.labelling.labels import label
from posterion.labelling.reference import PyscfReference

CHEAP = PyscfReference(xc="PBE", basis="STO-3G", grid_level=0)


@pytest.mark.parametrize(
    ("atoms", "reference", "said"),
    [
        (Atoms("OH", [[0.0, 0.0, 0.0], [0.0, 0.0, 0.97]]), CHEAP, "RuntimeError: Electron number"),
        (bulk("C"), CHEAP, "InputError: expected a molecule"),
        (molecule("H2O"), CHEAP.model_copy(update={"energy_tolerance": 1e-300}), "SCFError: not"),
    ],
)
def test_failure_is_told(atoms: Atoms, reference: PyscfReference, said: str) -> None:
    pytest.importorskip("pyscf")
    (outcome,) = label([atoms], [0], reference)
    assert outcome.frame is None
    assert said in outcome.reason


def test_functional_that_does_not_exist_stops_before_the_first_frame() -> None:
    pytest.importorskip("pyscf")
    with pytest.raises(ConfigurationError, match=r"^pyscf, xc: PySCF does not know 'PBEX'$"):
        next(label([molecule("H2O")], [0], CHEAP.model_copy(update={"xc": "PBEX"})))
