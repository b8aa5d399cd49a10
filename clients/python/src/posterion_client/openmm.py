"""How OpenMM runs on Posterion: forces, the ML part of mixed systems, and biased uncertainty.

>>> from openmmml import MLPotential
>>> system = MLPotential("posterion", url="http://127.0.0.1:8000").createSystem(topology)

OpenMM-ML finds the potential by its entry point. Without OpenMM-ML, `posterion_force` makes an
`openmm.PythonForce`, and `uncertainty_variable` one whose energy is a number of the uncertainty
and whose force is the negative gradient of it: a collective variable for `CustomCVForce`.

What OpenMM keeps, and writes into a System's XML, are the settings; the connection is opened by
the first step of each process. All forces with equal settings share one session, which answers
the same positions once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit
from openmmml.mlpotential import MLPotentialImpl, MLPotentialImplFactory

from posterion_client._address import resolve_url
from posterion_client._errors import InvalidArgument, PosterionError
from posterion_client._halting import UncertaintyExceeded
from posterion_client._retry import RetryPolicy
from posterion_client._structure import Structure
from posterion_client.md import MD_RETRY, Evaluation, MDSession, Precision, Scalar

__all__ = [
    "PosterionPotentialFactory",
    "Settings",
    "posterion_force",
    "session_of",
    "uncertainty_variable",
]

FloatArray = NDArray[np.float64]

KJ_MOL_PER_EV: Final = 96.48533288249877
"""Of the constants that ASE takes by default (CODATA 2014), as everywhere in Posterion."""

_ANGSTROM_PER_NM: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is asked; equal settings share a session.

    Attributes:
        numbers: Atomic numbers of the particles.
        periodic: Whether the box counts.
        url: Address of the service.
        model: Model to ask; None = the service's.
        version: Version, digest or alias of the model.
        digest: Sample set that must answer.
        precision: ``float64`` evaluates with the slower reference engine.
        gradient_of: Number of the uncertainty whose gradient is asked for; a variable needs it,
            and a force with the same one shares the variable's requests.
        halt_on: ``candidate`` or ``failed``: end the run when such a flag, or a worse one, is
            raised; None = never.
        retry_s: How long a failed step is sent again, seconds.
    """

    numbers: tuple[int, ...]
    periodic: bool = False
    url: str | None = None
    model: str | None = None
    version: str | None = None
    digest: str | None = None
    precision: Precision = "float32"
    gradient_of: Scalar | None = None
    halt_on: str | None = None
    retry_s: float = MD_RETRY.budget_s

    def __post_init__(self) -> None:
        """Refuse what no session would take, when the system is made."""
        if self.halt_on not in (None, "candidate", "failed"):
            raise InvalidArgument(
                f"halt_on must be 'candidate', 'failed' or None, got {self.halt_on!r}"
            )
        Structure(numbers=list(self.numbers), positions=np.zeros((len(self.numbers), 3)))
        resolve_url(self.url)


@lru_cache(maxsize=64)
def session_of(settings: Settings) -> MDSession:
    """The session of a process that answers for settings.

    Args:
        settings: What is asked.
    """
    return MDSession(
        settings.numbers,
        url=settings.url,
        model=settings.model,
        version=settings.version,
        digest=settings.digest,
        pbc=settings.periodic,
        stress=False,
        gradient_of=settings.gradient_of,
        precision=settings.precision,
        retry=RetryPolicy(budget_s=settings.retry_s),
    )


def posterion_force(settings: Settings, particles: Sequence[int] = ()) -> openmm.PythonForce:
    """The energy and the forces of particles.

    Args:
        settings: What is asked.
        particles: Their indices in the system; none = all.

    Raises:
        InvalidArgument: If particles and atomic numbers do not belong together.
    """
    return _python_force(_Energy(settings), settings, particles)


def uncertainty_variable(settings: Settings, particles: Sequence[int] = ()) -> openmm.PythonForce:
    """A number of the uncertainty as a collective variable.

    Its value is in eV/Angstrom, eV, or of no unit, as the API states it, whatever OpenMM's
    units; give it to ``CustomCVForce.addCollectiveVariable``.

    Args:
        settings: What is asked, with ``gradient_of``.
        particles: Their indices in the system; none = all.

    Raises:
        InvalidArgument: If the settings ask for no gradient.
    """
    if settings.gradient_of is None:
        raise InvalidArgument("a variable needs gradient_of in its settings")
    return _python_force(_Variable(settings), settings, particles)


@dataclass(frozen=True, slots=True)
class _Energy:
    """Called by OpenMM at every evaluation; pickled into its XML."""

    settings: Settings

    def __call__(self, state: openmm.State) -> tuple[float, FloatArray]:
        """Energy in kJ/mol and forces in kJ/(mol nm)."""
        found = _evaluated(self.settings, state)
        factor = KJ_MOL_PER_EV * _ANGSTROM_PER_NM
        return found.energy * KJ_MOL_PER_EV, found.forces * factor


@dataclass(frozen=True, slots=True)
class _Variable:
    """The same for a collective variable."""

    settings: Settings

    def __call__(self, state: openmm.State) -> tuple[float, FloatArray]:
        """The number, and minus its derivatives per nm."""
        found = _evaluated(self.settings, state).uncertainty_gradient
        assert found is not None
        return found.value, -found.positions * _ANGSTROM_PER_NM


def _evaluated(settings: Settings, state: openmm.State) -> Evaluation:
    positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    cell = None
    if settings.periodic:
        vectors = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.angstrom)
        # OpenMM's own form; rounding may leave 1e-16 above the diagonal.
        cell = np.tril(np.asarray(vectors, dtype=np.float64))
    try:
        found = session_of(settings).evaluate(np.asarray(positions, dtype=np.float64), cell)
    except PosterionError as error:
        # OpenMM shows the text of an error only: it carries the code.
        raise RuntimeError(f"posterion: {error}") from error
    _judge(settings, found)
    return found


def _judge(settings: Settings, found: Evaluation) -> None:
    if settings.halt_on is None or found.status == "ok":
        return
    if found.status == "failed" or settings.halt_on == "candidate":
        raise UncertaintyExceeded(
            f"posterion: flags {', '.join(found.flags)} end the run", flags=found.flags
        )


def _python_force(
    compute: _Energy | _Variable, settings: Settings, particles: Sequence[int]
) -> openmm.PythonForce:
    if particles and len(particles) != len(settings.numbers):
        raise InvalidArgument(
            f"{len(particles)} particles were given for {len(settings.numbers)} atomic numbers"
        )
    force = openmm.PythonForce(compute)
    force.setUsesPeriodicBoundaryConditions(settings.periodic)
    if particles:
        force.setParticles(list(particles))
    return force


class PosterionPotentialFactory(MLPotentialImplFactory):  # type: ignore[misc] # of OpenMM-ML, not installed here
    """Makes the potential ``posterion`` of OpenMM-ML."""

    def createImpl(self, name: str, **settings: object) -> "_Potential":  # noqa: N802 - of OpenMM-ML
        """The potential with what ``MLPotential("posterion", ...)`` was given.

        Args:
            name: ``posterion``.
            settings: Fields of `Settings`, without ``numbers`` and ``periodic``.
        """
        return _Potential(name, settings)


class _Potential(MLPotentialImpl):  # type: ignore[misc] # of OpenMM-ML, not installed here
    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        self.name = name
        self._settings = settings

    def addForces(  # noqa: N802 - of OpenMM-ML
        self,
        topology: app.Topology,
        system: openmm.System,
        atoms: Iterable[int] | None,
        forceGroup: int,  # noqa: N803 - of OpenMM-ML
        **settings: object,
    ) -> None:
        """Add the force of some atoms, or all, to a system."""
        every = list(topology.atoms())
        particles = [] if atoms is None else list(atoms)
        chosen = [every[index] for index in particles] if atoms is not None else every
        if any(atom.element is None for atom in chosen):
            raise InvalidArgument("every atom of the topology needs an element")
        box = topology.getPeriodicBoxVectors() or (
            system.getDefaultPeriodicBoxVectors()
            if system.usesPeriodicBoundaryConditions()
            else None
        )
        given = {**self._settings, **settings}
        force = posterion_force(
            Settings(
                numbers=tuple(atom.element.atomic_number for atom in chosen),
                periodic=box is not None,
                **given,
            ),
            particles,
        )
        force.setForceGroup(forceGroup)
        system.addForce(force)
