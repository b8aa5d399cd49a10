"""Energy and forces of a molecule's closed shell from PySCF, as an ASE calculator.

Every structure starts from PySCF's own initial guess, so that its label does not depend on
what was computed before. Forces include the response of the quadrature grid, so that they
are the gradient of the energy that is reported and sum to zero.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, InputError, SCFError, all_changes
from ase.units import Bohr, Hartree
from pyscf import dft, gto

if TYPE_CHECKING:
    from posterion.labelling.reference import PyscfReference


class PyscfCalculator(Calculator):
    """Restricted Kohn-Sham (or Hartree-Fock) with the settings of a reference.

    Args:
        settings: Functional, basis, fitting, grid, tolerance.
    """

    implemented_properties: list[str] = ["energy", "forces"]  # noqa: RUF012 - as ASE declares it

    def __init__(self, settings: "PyscfReference") -> None:
        super().__init__()
        self._settings = settings

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute energy (eV) and forces (eV/Angstrom).

        Raises:
            SCFError: If the self-consistent field does not converge.
            InputError: If the structure is periodic.
        """
        super().calculate(atoms, properties, system_changes)
        if self.atoms is None or self.atoms.pbc.any():
            raise InputError("expected a molecule, got none or a periodic structure")
        field = self._mean_field(self.atoms)
        energy = field.kernel()
        if not field.converged:
            raise SCFError(f"not converged in {field.max_cycle} cycles")
        gradient = field.nuc_grad_method()
        gradient.grid_response = True
        self.results = {
            "energy": float(energy) * Hartree,
            "forces": -np.asarray(gradient.kernel()) * (Hartree / Bohr),
        }

    def _mean_field(self, atoms: Atoms) -> Any:  # noqa: ANN401 - PySCF has no types
        settings = self._settings
        molecule = gto.M(
            atom=list(zip(atoms.symbols, atoms.positions, strict=True)),
            unit="Angstrom",
            basis=settings.basis,
            verbose=0,
        )
        field = dft.RKS(molecule, xc=settings.xc)
        if settings.fitting_basis is not None:
            field = field.density_fit(auxbasis=settings.fitting_basis)
        field.grids.level = settings.grid_level
        field.conv_tol = settings.energy_tolerance
        if settings.dispersion is not None:
            field.disp = settings.dispersion
        return field
