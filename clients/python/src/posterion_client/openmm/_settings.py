"""What is asked: plain data, which a System's XML can hold."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from posterion_client._errors import InvalidArgument
from posterion_client._halting import Halt, check_halt
from posterion_client._retry import RetryPolicy
from posterion_client._structure import Structure
from posterion_client.md import MD_RETRY, MDSession, Precision, Scalar, Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is asked; equal settings share a session.

    There is no room for headers: a System's XML would hold what they keep secret. Set
    ``POSTERION_AUTHORIZATION`` where the run takes place.

    Attributes:
        numbers: Atomic numbers of the particles.
        periodic: Whether the box counts.
        url: Address of the service; None = ``POSTERION_URL`` where the run takes place, then
            ``http://127.0.0.1:8000``.
        model: Model to ask; None = the service's.
        version: Version, digest or alias of the model.
        digest: Sample set that must answer, e.g. of an earlier part of the trajectory.
        charge: Total charge of the particles, elementary charges.
        spin_multiplicity: 2S + 1.
        precision: ``float64`` evaluates with the slower reference engine.
        n_samples: Evaluate only the first n samples.
        gradient_of: Number of the uncertainty whose gradient is asked for; a variable needs it,
            and a force with the same one shares the variable's requests.
        halt: End the run at flags of this severity, ``candidate`` or ``failed``, or a worse one.
        transport: ``websocket``, ``http``, or the first where the way allows it (``auto``).
        retry_s: How long a failed step is sent again, seconds.
        timeout_s: Longest silence while an answer is awaited, seconds.
    """

    numbers: tuple[int, ...]
    periodic: bool = False
    url: str | None = None
    model: str | None = None
    version: str | None = None
    digest: str | None = None
    charge: int = 0
    spin_multiplicity: int = 1
    precision: Precision = "float32"
    n_samples: int | None = None
    gradient_of: Scalar | None = None
    halt: Halt = "never"
    transport: Transport = "auto"
    retry_s: float = MD_RETRY.budget_s
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        """Refuse what no session would take, when the system is made."""
        check_halt(self.halt)
        Structure(numbers=list(self.numbers), positions=np.zeros((len(self.numbers), 3)))
        _session(self)

    @classmethod
    def of(cls, named: Mapping[str, Any]) -> "Settings":
        """Settings by name.

        Args:
            named: The attributes; those that are missing have their defaults.

        Raises:
            InvalidArgument: If a name is unknown, or a value wrong.
        """
        unknown = sorted(set(named) - set(cls.__slots__))
        if unknown:
            raise InvalidArgument(
                f"there is no setting {unknown[0]!r}; there are {', '.join(cls.__slots__)}"
            )
        return cls(**{**named, "numbers": tuple(named["numbers"])})

    def plain(self) -> dict[str, Any]:
        """The attributes by name."""
        return asdict(self)


@lru_cache(maxsize=64)
def session_of(settings: Settings) -> MDSession:
    """The session of a process that answers for settings.

    Args:
        settings: What is asked.
    """
    return _session(settings)


def _session(settings: Settings) -> MDSession:
    """A session that has sent nothing yet."""
    return MDSession(
        settings.numbers,
        url=settings.url,
        model=settings.model,
        version=settings.version,
        digest=settings.digest,
        pbc=settings.periodic,
        charge=settings.charge,
        spin_multiplicity=settings.spin_multiplicity,
        stress=False,
        gradient_of=settings.gradient_of,
        precision=settings.precision,
        n_samples=settings.n_samples,
        transport=settings.transport,
        retry=RetryPolicy(budget_s=settings.retry_s),
        timeout_s=settings.timeout_s,
    )
