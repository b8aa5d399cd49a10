"""The calculator of `posterion_client.ase`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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

MD_RETRY: Final = RetryPolicy(budget_s=600.0)
"""A run of many hours outlives a restart of the service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Whom a calculator asks, and what; calculators that are equal in it may ask together.

    Attributes:
        url: Address of the service.
        model: Model to ask; None = the client's, then the service's.
        version: Version, digest or alias of the model.
        pin: Whether one sample set must answer for the calculator's whole life.
        stress: Whether to ask for the stress; None = whether the model describes it.
        options: What else to compute.
    """

    url: str
    model: str | None
    version: str | None
    pin: bool
    stress: bool | None
    options: PredictOptions


class PosterionCalculator(Calculator):
    """Energy, forces and stress of ASE ``Atoms`` from a Posterion service.

    ``results`` holds standard properties only, as the writers of ASE expect. The rest of
    the last answer is in `uncertainty`, `flags`, `model` and `prediction`; single numbers
    are also found by ``get_property``: ``energy_std``, ``energy_epistemic_std``,
    ``energy_aleatoric_std``, ``energy_var`` (epistemic), ``forces_std``,
    ``forces_epistemic_std``, ``forces_aleatoric_std`` and, where samples were asked for,
    ``energy_comm``, ``forces_comm`` and ``stress_var``. Charge and spin multiplicity are taken from
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
        self._asking = Asking(
            url=self._client.url,
            model=model,
            version=version,
            pin=pin,
            stress=stress,
            options=options or PredictOptions(),
        )
        self._stress = stress
        self._digest: str | None = None
        self._structure: Structure | None = None
        self._prediction: Prediction | None = None

    @property
    def asking(self) -> Asking:
        """Whom it asks, and what."""
        return self._asking

    @property
    def digest(self) -> str | None:
        """The sample set it is held to; None before the first answer and without ``pin``."""
        return self._digest

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
            if not self.knows(structure):
                (prediction,) = self.ask([structure], digest=self._digest)
                self.take(structure, prediction)
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

    def knows(self, structure: Structure) -> bool:
        """Whether the last answer is about this structure."""
        return self._structure is not None and structure.same_as(self._structure)

    def ask(self, structures: Sequence[Structure], *, digest: str | None) -> list[Prediction]:
        """Ask as this calculator does, about any structures, in one request.

        Args:
            structures: What to ask about.
            digest: Sample set that must answer.

        Raises:
            PosterionError: If the service cannot answer.
        """
        asking = self._asking
        wanted = any(structure.fully_periodic for structure in structures) and self._wants_stress()
        found = self._client.predict_many(
            structures,
            on_error="return",
            options=replace(asking.options, stress=wanted),
            model=asking.model,
            version=asking.version,
            digest=digest,
        )
        predictions = [outcome for outcome in found if isinstance(outcome, Prediction)]
        errors = [outcome for outcome in found if isinstance(outcome, PosterionError)]
        if errors:
            if len(structures) == 1:
                errors[0].index = None  # there is only one that can be meant
            raise errors[0]
        return predictions

    def take(self, structure: Structure, prediction: Prediction) -> None:
        """Hold an answer, whoever asked for it.

        Args:
            structure: What it is about.
            prediction: The answer.
        """
        self._structure, self._prediction = structure, prediction
        if self._asking.pin:
            self._digest = prediction.model.digest

    def _wants_stress(self) -> bool:
        if self._stress is None:
            self._stress = self._client.model(self._asking.model, self._asking.version).periodic
        return self._stress


def _electrons(atoms: Atoms) -> tuple[object, object]:
    info = atoms.info
    return info.get("charge", 0), info.get("spin_multiplicity", info.get("spin", 1))
