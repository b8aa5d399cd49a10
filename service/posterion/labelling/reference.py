"""Which reference calculator is meant, and at which level of theory it works.

The registry is closed: a name given on the command line chooses one of the classes below,
never code of the caller's choice. Each class is the settings of one calculator, checked,
and makes the ASE calculator they describe.
"""

from collections.abc import Sequence
from importlib import import_module, metadata
from types import ModuleType
from typing import Annotated, Any, Final, Literal, Protocol

from ase.calculators.calculator import CalculatorError
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from posterion.errors import ConfigurationError
from posterion.labelling.failures import CalculatorUnavailable

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

CALCULATION_ERRORS: Final = (
    CalculatorError,
    RuntimeError,
    ValueError,
    ArithmeticError,
    KeyError,
)
"""What calculators raise when one structure cannot be computed; numpy's linear algebra
errors are ``ValueError``, ``NotImplementedError`` is ``RuntimeError``."""


class Reference(Protocol):
    """A level of theory that energies and forces can be computed at."""

    @property
    def level_of_theory(self) -> str:
        """Method, basis, program and version, as it is written into every labelled frame."""
        ...

    def calculator(self) -> Any:  # noqa: ANN401 - ASE has no types
        """A fresh ASE calculator with energies (eV) and forces (eV/Angstrom).

        Raises:
            CalculatorUnavailable: If the program behind it is not installed.
            ConfigurationError: If a setting means nothing to that program.
        """
        ...


class Settings(BaseModel):
    """Settings of a calculator: unknown ones are errors, values cannot change later."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TbliteReference(Settings):
    """Extended tight binding through tblite: milliseconds per molecule.

    Attributes:
        method: Parametrisation.
        accuracy: tblite's accuracy; smaller is tighter.
    """

    kind: Literal["tblite"] = "tblite"
    method: Literal["GFN2-xTB", "GFN1-xTB", "IPEA1-xTB"] = "GFN2-xTB"
    accuracy: Positive = 1.0

    @property
    def level_of_theory(self) -> str:
        """E.g. ``GFN2-xTB, accuracy 1, tblite 0.8.0``."""
        _required("tblite", extra="tblite")
        return f"{self.method}, accuracy {self.accuracy:g}, tblite {metadata.version('tblite')}"

    def calculator(self) -> Any:  # noqa: ANN401 - ASE has no types
        """A silent tblite calculator."""
        module = _required("tblite.ase", extra="tblite")
        return module.TBLite(method=self.method, accuracy=self.accuracy, verbosity=0)


class PyscfReference(Settings):
    """Kohn-Sham or Hartree-Fock of a molecule's closed shell through PySCF.

    Attributes:
        xc: Functional as PySCF spells it, e.g. ``PBE`` or ``B88,P86VWN``; ``HF`` is
            Hartree-Fock.
        basis: Orbital basis.
        density_fitting: Whether the Coulomb (and exchange) integrals are fitted.
        auxiliary_basis: Fitting basis; by default Weigend's universal one, ``jfit`` for
            functionals without exact exchange and ``jkfit`` for the others.
        dispersion: Dispersion correction as PySCF spells it: ``d3bj``, or ``d3bj:bp86`` where
            its parameters' functional cannot be told from ``xc``.
        grid_level: PySCF's quadrature grid, 0 (coarse) to 9.
        energy_tolerance: Convergence of the self-consistent field, hartree.
    """

    kind: Literal["pyscf"] = "pyscf"
    xc: str = "PBE"
    basis: str = "def2-SVP"
    density_fitting: bool = True
    auxiliary_basis: str | None = None
    dispersion: Annotated[str, Field(pattern=r"^(d3bj|d3zero|d4)(:[\w-]+)?$")] | None = None
    grid_level: Annotated[int, Field(ge=0, le=9)] = 3
    energy_tolerance: Positive = 1e-10

    @property
    def fitting_basis(self) -> str | None:
        """Name of the fitting basis, None without density fitting."""
        if not self.density_fitting or self.auxiliary_basis is not None:
            return self.auxiliary_basis if self.density_fitting else None
        libxc = _required("pyscf.dft.libxc", extra="pyscf")
        hybrid = self.xc.upper() == "HF" or libxc.is_hybrid_xc(self.xc)
        return "def2-universal-jkfit" if hybrid else "def2-universal-jfit"

    @property
    def level_of_theory(self) -> str:
        """E.g. ``PBE/def2-SVP, fitted with def2-universal-jfit, grid level 3, PySCF 2.14``."""
        _required("pyscf", extra="pyscf")
        dispersion = "" if self.dispersion is None else f"{self.dispersion}, "
        fitted = "" if self.fitting_basis is None else f"fitted with {self.fitting_basis}, "
        return (
            f"{self.xc}/{self.basis}, {dispersion}{fitted}grid level {self.grid_level}, "
            f"PySCF {metadata.version('pyscf')}"
        )

    def calculator(self) -> Any:  # noqa: ANN401 - ASE has no types
        """A calculator that starts every structure from PySCF's own guess.

        Raises:
            CalculatorUnavailable: If PySCF or its dispersion package is not installed.
            ConfigurationError: If there is no such functional.
        """
        libxc = _required("pyscf.dft.libxc", extra="pyscf")
        try:
            libxc.parse_xc(self.xc)
        except (KeyError, ValueError) as error:
            raise ConfigurationError(f"pyscf, xc: PySCF does not know {self.xc!r}") from error
        if self.dispersion is not None:
            _required("pyscf.dispersion", extra="pyscf")
        module = import_module("posterion.labelling.pyscf_calculator")
        return module.PyscfCalculator(self)


class EmtReference(Settings):
    """ASE's effective medium theory: metals such as Cu, Al, Ni; needs nothing installed."""

    kind: Literal["emt"] = "emt"

    @property
    def level_of_theory(self) -> str:
        """E.g. ``EMT, ASE 3.29.0``."""
        return f"EMT, ASE {metadata.version('ase')}"

    def calculator(self) -> Any:  # noqa: ANN401 - ASE has no types
        """ASE's own."""
        return import_module("ase.calculators.emt").EMT()


class LennardJonesReference(Settings):
    """A smooth Lennard-Jones potential between all atoms alike, from ASE; a toy.

    Attributes:
        epsilon: Depth of the well, eV.
        sigma: Where a pair's energy changes sign, Angstrom.
        cutoff: Where it ends, Angstrom.
    """

    kind: Literal["lennard-jones"] = "lennard-jones"
    epsilon: Positive = 1.0
    sigma: Positive = 1.0
    cutoff: Positive = 3.0

    @property
    def level_of_theory(self) -> str:
        """Parameters, and ASE's version."""
        return (
            f"Lennard-Jones, epsilon {self.epsilon:g} eV, sigma {self.sigma:g} Angstrom, smooth "
            f"cutoff {self.cutoff:g} Angstrom, ASE {metadata.version('ase')}"
        )

    def calculator(self) -> Any:  # noqa: ANN401 - ASE has no types
        """ASE's own, with a smooth cutoff."""
        module = import_module("ase.calculators.lj")
        return module.LennardJones(
            epsilon=self.epsilon, sigma=self.sigma, rc=self.cutoff, smooth=True
        )


Chosen = Annotated[
    TbliteReference | PyscfReference | EmtReference | LennardJonesReference,
    Field(discriminator="kind"),
]
CALCULATORS: Final[dict[str, type[Settings]]] = {
    "tblite": TbliteReference,
    "pyscf": PyscfReference,
    "emt": EmtReference,
    "lennard-jones": LennardJonesReference,
}
_CHOICE: Final[TypeAdapter[Chosen]] = TypeAdapter(Chosen)


def chosen_reference(kind: str, options: Sequence[str] = ()) -> Reference:
    """Find a calculator by name and give it its settings.

    Args:
        kind: ``tblite``, ``pyscf``, ``emt`` or ``lennard-jones``.
        options: Settings as ``key=value``.

    Returns:
        The reference.

    Raises:
        ConfigurationError: If there is no such calculator, setting or value.
    """
    values: dict[str, str] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals or key == "kind":
            raise ConfigurationError(f"expected a setting of the form key=value, got {option!r}")
        values[key.strip().replace("-", "_")] = value.strip()
    try:
        return _CHOICE.validate_python({"kind": kind, **values})
    except ValidationError as error:
        lines = [_sentence(problem, kind) for problem in error.errors()]
        raise ConfigurationError("; ".join(lines)) from error


def _sentence(problem: ErrorDetails, kind: str) -> str:
    """Say what is wrong with a calculator's name, with a setting's name or with its value."""
    name = ".".join(map(str, problem["loc"][1:]))
    if not name:
        known = ", ".join(CALCULATORS)
        return f"expected one of the calculators {known}, got {kind!r}"
    if problem["type"] == "extra_forbidden":
        known = ", ".join(key for key in CALCULATORS[kind].model_fields if key != "kind")
        return f"{kind} has no setting {name!r}; it has {known}"
    return f"{kind}, {name}: {problem['msg']}"


def _required(module: str, *, extra: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        raise CalculatorUnavailable(
            f"this calculator needs {module}, which cannot be imported ({error}); "
            f"install it with: pip install 'posterion[{extra}]'"
        ) from error
