"""The forces of one trajectory, step by step: what every adapter for an MD code builds on."""

import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posterion_client._address import resolve_url, with_authorization
from posterion_client._elements import NUMBERS
from posterion_client._errors import InvalidArgument
from posterion_client._request import Target
from posterion_client._retry import Pacer, RetryPolicy, SystemPacer
from posterion_client._structure import Structure
from posterion_client.md._channels import (
    AutomaticChannel,
    Channel,
    RequestChannel,
    SessionChannel,
    Transport,
)
from posterion_client.md._connection import Endpoint
from posterion_client.md._evaluation import Evaluation, evaluations
from posterion_client.md._frames import SCALARS, Outputs, Scalar, Structures, all_finite
from posterion_client.md._pin import Pin, Question
from posterion_client.md._steps import Steps

if TYPE_CHECKING:
    from typing_extensions import Self

FloatArray = NDArray[np.float64]
Precision = Literal["float32", "float64"]

MD_RETRY: Final = RetryPolicy(budget_s=600.0)
"""A run of many hours outlives a restart of the service."""

CHANNELS: Final[Mapping[Transport, Callable[[Endpoint, Pin, Question], Channel]]] = {
    "auto": AutomaticChannel,
    "websocket": SessionChannel,
    "http": RequestChannel,
}
"""How steps may reach the service."""


class MDSession:
    """Energies and forces of the same atoms, as often as a simulation needs them.

    The sample set that answers first answers every step: if it is no longer served, or
    another would answer, `ModelChanged` is raised and the run ends. Failures that may pass
    are waited out. The last answer is kept, so that a code which asks twice about the same
    positions costs one request. A session may be used from several threads, one at a time.

    Args:
        numbers: Atomic numbers, or element symbols, of one image, shape ``(n_atoms,)``.
        url: Address of the service; default is the environment variable ``POSTERION_URL``,
            then ``http://127.0.0.1:8000``.
        model: Model to ask; default is the service's.
        version: Version, digest or alias of the model.
        digest: Sample set that must answer, e.g. of an earlier part of the trajectory.
        pbc: Periodic directions; one value stands for all three.
        charge: Total charge, elementary charges.
        spin_multiplicity: 2S + 1.
        n_images: Beads or replicas in every step.
        stress: Whether to ask for the stress; default is full periodicity.
        uncertainty: Whether to ask for standard deviations; flags are answered in any case.
        gradient_of: Number whose gradient is asked for at every step; see the output
            ``uncertainty_gradient`` of the API and its cost.
        uncertainty_interval: Ask for them only at every so manieth step.
        precision: ``float64`` evaluates with the slower reference engine.
        n_samples: Evaluate only the first n samples.
        transport: ``websocket``, ``http``, or the first where the way allows it (``auto``).
        retry: How long a step is sent again; default is ten minutes.
        timeout_s: Longest silence while an answer is awaited, seconds.
        headers: Sent with every request, e.g. ``Authorization``.
        pacer: Clock, sleep and chance of the retries; default is the machine's.

    Raises:
        InvalidArgument: If a setting is wrong.
    """

    def __init__(  # noqa: PLR0913 - every setting is a keyword with a default
        self,
        numbers: "Sequence[int] | Sequence[str] | NDArray[np.integer]",
        *,
        url: str | None = None,
        model: str | None = None,
        version: str | None = None,
        digest: str | None = None,
        pbc: bool | Sequence[bool] = False,
        charge: int = 0,
        spin_multiplicity: int = 1,
        n_images: int = 1,
        stress: bool | None = None,
        uncertainty: bool = True,
        gradient_of: Scalar | None = None,
        uncertainty_interval: int = 1,
        precision: Precision = "float32",
        n_samples: int | None = None,
        transport: Transport = "auto",
        retry: RetryPolicy | None = None,
        timeout_s: float = 60.0,
        headers: Mapping[str, str] | None = None,
        pacer: Pacer | None = None,
    ) -> None:
        if n_images < 1 or uncertainty_interval < 1:
            raise InvalidArgument("n_images and uncertainty_interval must be at least 1")
        if transport not in CHANNELS:
            raise InvalidArgument(f"transport must be one of {list(CHANNELS)}, got {transport!r}")
        if precision not in ("float32", "float64"):
            raise InvalidArgument(f"precision must be float32 or float64, got {precision!r}")
        if gradient_of is not None and gradient_of not in SCALARS:
            raise InvalidArgument(f"gradient_of must be one of {SCALARS}, got {gradient_of!r}")
        self._numbers = atomic_numbers(numbers)
        self._pbc = periodic_directions(pbc)
        self._periodic = any(self._pbc)
        self._electrons = (charge, spin_multiplicity)
        self._n_images = n_images
        self._all_numbers = np.tile(self._numbers, n_images)
        self._sizes = np.full(n_images, len(self._numbers))
        self._pin = Pin(target=Target(model=model, version=version), digest=digest)
        question = Question(
            outputs=Outputs(all(self._pbc) if stress is None else stress, uncertainty, gradient_of),
            uncertainty_interval=uncertainty_interval,
            precision=precision,
            n_samples=n_samples,
        )
        endpoint = Endpoint(
            url=resolve_url(url), headers=with_authorization(headers), timeout_s=timeout_s
        )
        self._channel = CHANNELS[transport](endpoint, self._pin, question)
        self._steps = Steps(self._channel, retry or MD_RETRY, pacer or SystemPacer())
        self._turn = threading.Lock()
        self._last: tuple[bytes, tuple[Evaluation, ...]] | None = None
        self._n_requests = 0

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Atomic numbers of one image."""
        return self._numbers

    @property
    def digest(self) -> str | None:
        """The sample set that answers; None before the first answer."""
        return self._pin.digest

    @property
    def model(self) -> str | None:
        """Name of the model that answers; None before the first answer."""
        return self._pin.name

    @property
    def n_requests(self) -> int:
        """Steps that were asked about; repeated questions about the same positions are not."""
        return self._n_requests

    def evaluate(self, positions: ArrayLike, cell: ArrayLike | None = None) -> Evaluation:
        """Ask about one structure, in a session of one image.

        Args:
            positions: Shape ``(n_atoms, 3)``, Angstrom.
            cell: Shape ``(3, 3)``, rows are the lattice vectors, Angstrom; needed where a
                direction is periodic.

        Raises:
            InvalidStructure: If a shape is wrong or a number is not finite.
            ModelChanged: If another sample set would answer.
            PosterionError: If the service cannot answer.
        """
        cells = None if cell is None else np.asarray(cell, dtype=np.float64)[None]
        return self.evaluate_images(np.asarray(positions, dtype=np.float64)[None], cells)[0]

    def evaluate_images(
        self, positions: ArrayLike, cells: ArrayLike | None = None
    ) -> tuple[Evaluation, ...]:
        """Ask about all images in one step.

        Args:
            positions: Shape ``(n_images, n_atoms, 3)``, Angstrom.
            cells: Shape ``(n_images, 3, 3)``, Angstrom.

        Returns:
            One evaluation per image.

        Raises:
            InvalidStructure: If a shape is wrong or a number is not finite.
            ModelChanged: If another sample set would answer.
            PosterionError: If the service cannot answer.
        """
        asked = self._checked(positions, cells)
        key = asked.positions.tobytes() + (b"" if asked.cells is None else asked.cells.tobytes())
        with self._turn:
            if self._last is not None and self._last[0] == key:
                return self._last[1]
            self._last = None
            found = evaluations(self._steps.answer(asked), self._sizes)
            self._n_requests += 1
            self._last = (key, found)
            return found

    def close(self) -> None:
        """Leave the session; another step would open it again."""
        with self._turn:
            self._channel.close()

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _checked(self, positions: ArrayLike, cells: ArrayLike | None) -> Structures:
        """The structures of a step; each is checked as those of `Client` are."""
        images = np.asarray(positions, dtype=np.float64)
        n_atoms = len(self._numbers)
        if images.shape != (self._n_images, n_atoms, 3):
            raise InvalidArgument(
                f"the session is of {self._n_images} images of {n_atoms} atoms, so positions must "
                f"have shape ({self._n_images}, {n_atoms}, 3), got {images.shape}"
            )
        periodic = self._periodic
        lattices = None
        if cells is not None and periodic:
            lattices = np.ascontiguousarray(np.asarray(cells, dtype=np.float64))
        if lattices is not None and lattices.shape != (self._n_images, 3, 3):
            raise InvalidArgument(
                f"cells must have shape ({self._n_images}, 3, 3), got {lattices.shape}"
            )
        finite = all_finite(images) and (lattices is None or all_finite(lattices))
        if not finite or (lattices is None) == periodic:
            # Says which number of which atom, or which vector of the cell, is wrong.
            for index, image in enumerate(images):
                Structure(
                    numbers=self._numbers,
                    positions=image,
                    cell=None if lattices is None else lattices[index],
                    pbc=self._pbc,
                )
        charge, multiplicity = self._electrons
        return Structures(
            numbers=self._all_numbers,
            positions=images.reshape(-1, 3),
            sizes=self._sizes,
            cells=lattices,
            pbc=self._pbc,
            charge=charge,
            spin_multiplicity=multiplicity,
        )


def atomic_numbers(
    numbers: "Sequence[int] | Sequence[str] | NDArray[np.integer]",
) -> NDArray[np.int64]:
    """Atomic numbers of symbols or numbers.

    Raises:
        InvalidArgument: If there is none, or a symbol is unknown.
    """
    if len(numbers) == 0:
        raise InvalidArgument("a session needs at least one atom")
    unknown = [value for value in numbers if isinstance(value, str) and value not in NUMBERS]
    if unknown:
        raise InvalidArgument(f"{unknown[0]!r} is no element")
    return np.array([NUMBERS[v] if isinstance(v, str) else int(v) for v in numbers])


def periodic_directions(pbc: bool | Sequence[bool]) -> tuple[bool, bool, bool]:  # noqa: FBT001 - a setting of the caller, by its name there
    """Three directions; one value stands for all.

    Raises:
        InvalidArgument: If there are not one or three.
    """
    if isinstance(pbc, bool):
        return pbc, pbc, pbc
    if len(pbc) != 3:
        raise InvalidArgument(f"pbc must be one or three true or false, got {pbc!r}")
    return bool(pbc[0]), bool(pbc[1]), bool(pbc[2])
