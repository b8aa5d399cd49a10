"""How ASE runs on Posterion: a calculator, and uncertainties that survive in files.

>>> from ase.build import molecule
>>> from posterion_client.ase import PosterionCalculator
>>> atoms = molecule("CH3CH2OH")
>>> atoms.calc = PosterionCalculator()
>>> atoms.get_forces()  # doctest: +SKIP
>>> atoms.calc.uncertainty.forces.max  # doctest: +SKIP
"""

from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import (
    Calculator,
    InputError,
    PropertyNotImplementedError,
    all_changes,
)

from posterion_client._ase_edge import (
    NAMED_VALUES,
    STANDARD_DEVIATIONS,
    ase_error,
    named_value,
    standard_results,
)
from posterion_client._client import Client
from posterion_client._errors import InvalidArgument, PosterionError
from posterion_client._request import PredictOptions
from posterion_client._results import Flag, ModelIdentity, Prediction, Uncertainty
from posterion_client._retry import RetryPolicy
from posterion_client._structure import Structure

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["PosterionCalculator", "record_uncertainty"]

MD_RETRY: Final = RetryPolicy(budget_s=600.0)
"""A run of many hours outlives a restart of the service."""


class PosterionCalculator(Calculator):
    """Energy, forces and stress of ASE ``Atoms`` from a Posterion service.

    ``results`` holds standard properties only, as the writers of ASE expect. The rest of
    the last answer is in `uncertainty`, `flags`, `model` and `prediction`; single numbers
    are also found by ``get_property``: ``energy_std``, ``energy_epistemic_std``,
    ``energy_aleatoric_std``, ``energy_var`` (epistemic), ``forces_std``,
    ``forces_epistemic_std``, ``forces_aleatoric_std`` and, where samples were asked for,
    ``energy_comm`` and ``forces_comm``. Charge and spin multiplicity are taken from
    ``atoms.info`` (see `Structure.from_ase`). The service is asked once per configuration.

    Args:
        url: Address of the service, as for `Client`; not together with ``client``.
        client: Client to use; the caller closes it. Default is a client of its own that
            repeats failed requests for up to ten minutes.
        model: Model to ask; default is the client's, then the service's.
        version: Version, digest or alias of the model.
        pin: Whether one sample set must answer for the calculator's whole life; a change
            then ends the run instead of bending its energy.
        stress: Whether to ask for the stress of fully periodic structures; default is
            whether the model describes it.
        options: What else to compute.

    Raises:
        InvalidArgument: If a setting is wrong.
    """

    implemented_properties: list[str] = [  # noqa: RUF012 - declared so by ASE
        "energy",
        "free_energy",
        "forces",
        "stress",
    ]

    def __init__(
        self,
        url: str | None = None,
        *,
        client: Client | None = None,
        model: str | None = None,
        version: str | None = None,
        pin: bool = True,
        stress: bool | None = None,
        options: PredictOptions | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # ASE has no types here
        if client is not None and url is not None:
            raise InvalidArgument("give either url or client: the client has its own address")
        self._owns_client = client is None
        self._client = client or Client(url, retry=MD_RETRY)
        self._model = model
        self._version = version
        self._pin = pin
        self._stress = stress
        self._options = options or PredictOptions()
        self._digest: str | None = None
        self._structure: Structure | None = None
        self._prediction: Prediction | None = None

    @property
    def prediction(self) -> Prediction | None:
        """The last answer; None before the first and after a failure."""
        return self._prediction

    @property
    def uncertainty(self) -> Uncertainty | None:
        """Standard deviations of the last answer."""
        return self._prediction.uncertainty if self._prediction else None

    @property
    def flags(self) -> tuple[Flag, ...]:
        """Flags of the last answer."""
        return self._prediction.flags if self._prediction else ()

    @property
    def model(self) -> ModelIdentity | None:
        """Which sample set gave the last answer."""
        return self._prediction.model if self._prediction else None

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Ask the service, unless the last answer was for the same configuration.

        Raises:
            InputError: If the structure or the settings cannot be evaluated.
            CalculationFailed: If the service cannot answer, or the sample set changed.
        """
        super().calculate(  # type: ignore[no-untyped-call] # ASE has no types here
            atoms, properties, system_changes
        )
        if self.atoms is None:
            raise InputError("no atoms were given")
        self.results = {}
        try:
            structure = Structure.from_ase(self.atoms)
            if self._structure is None or not structure.same_as(self._structure):
                self._prediction = self._ask(structure)
                self._structure = structure
        except PosterionError as error:
            self._structure = self._prediction = None
            raise ase_error(error) from error
        assert self._prediction is not None
        self.results = standard_results(self._prediction)

    def get_property(
        self,
        name: str,
        atoms: Atoms | None = None,
        allow_calculation: bool = True,  # noqa: FBT001, FBT002 - ASE passes it by position
    ) -> Any:  # noqa: ANN401 - a number or an array
        """A property by name: a standard one, or an uncertainty listed at the class.

        Raises:
            PropertyNotImplementedError: If the answer does not hold the property.
        """
        if name not in NAMED_VALUES:
            return self._standard_property(name, atoms, calculate=allow_calculation)
        if self._standard_property("energy", atoms, calculate=allow_calculation) is None:
            return None
        value = named_value(name, self.uncertainty) if self.uncertainty else None
        if value is None:
            raise PropertyNotImplementedError(
                f"{name} was not asked for: see uncertainty and samples of PredictOptions"
            )
        return value.copy() if isinstance(value, np.ndarray) else value

    def _standard_property(self, name: str, atoms: Atoms | None, *, calculate: bool) -> Any:  # noqa: ANN401 - a number or an array
        return super().get_property(  # type: ignore[no-untyped-call] # ASE has no types here
            name, atoms, calculate
        )

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What changed since the last calculation, charge and spin in ``info`` included."""
        changes: list[str] = list(
            super().check_state(atoms, tol=tol)  # type: ignore[no-untyped-call] # ASE has no types
        )
        if self.atoms is not None and _electrons(atoms) != _electrons(self.atoms):
            changes.append("info")
        return changes

    def todict(self, skip_default: bool = True) -> dict[str, Any]:  # noqa: ARG002, FBT001, FBT002 - of ASE
        """What ASE stores beside results: the sample set that gave them."""
        if self.model is None:
            return {}
        return {"model": self.model.name, "digest": self.model.digest}

    def close(self) -> None:
        """Close the connections, unless the client came from the caller."""
        if self._owns_client:
            self._client.close()

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, structure: Structure) -> Prediction:
        wanted = structure.fully_periodic and self._wants_stress()
        prediction = self._client.predict(
            structure,
            options=replace(self._options, stress=wanted),
            model=self._model,
            version=self._version,
            digest=self._digest,
        )
        if self._pin:
            self._digest = prediction.model.digest
        return prediction

    def _wants_stress(self) -> bool:
        if self._stress is None:
            self._stress = self._client.model(self._model, self._version).periodic
        return self._stress


def record_uncertainty(atoms: Atoms) -> None:
    """Copy the uncertainties of the last answer to where ASE's file writers keep them.

    The writers drop what they do not know in ``results``. This puts ``energy_std``,
    ``energy_epistemic_std`` and ``energy_aleatoric_std`` (eV), ``posterion_flags`` (codes,
    separated by spaces) and ``posterion_digest`` into ``atoms.info``, and ``forces_std``,
    ``forces_epistemic_std`` (``(n_atoms, 3)``) and ``forces_aleatoric_std`` (``(n_atoms,)``)
    into ``atoms.arrays`` (eV/Angstrom).

    Args:
        atoms: Atoms whose calculator is a `PosterionCalculator`; evaluated if needed.

    Raises:
        InvalidArgument: If the calculator is another one, or asks for no uncertainty.
    """
    calculator = atoms.calc
    if not isinstance(calculator, PosterionCalculator):
        raise InvalidArgument(
            f"atoms.calc must be a PosterionCalculator, got {type(calculator).__name__}"
        )
    calculator.get_property("energy", atoms)
    if calculator.uncertainty is None or calculator.model is None:
        raise InvalidArgument("the calculator was told to leave the uncertainty out")
    for name in STANDARD_DEVIATIONS:
        value = calculator.get_property(name, atoms)
        place = atoms.arrays if isinstance(value, np.ndarray) else atoms.info
        place[name] = value
    atoms.info["posterion_flags"] = " ".join(flag.code for flag in calculator.flags)
    atoms.info["posterion_digest"] = calculator.model.digest


def _electrons(atoms: Atoms) -> tuple[object, object]:
    info = atoms.info
    return info.get("charge", 0), info.get("spin_multiplicity", info.get("spin", 1))
