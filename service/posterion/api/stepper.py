"""What sessions need from whatever evaluates structures, beside what requests need."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from posterion.api.backend import Backend, ModelIdentity, Timing
from posterion.errors import PosterionError
from posterion.structures.evaluation import EvaluationOptions
from posterion.structures.prediction import FloatArray, Prediction
from posterion.structures.structure import Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReply:
    """Answers to the images of one step.

    Attributes:
        results: One prediction or error per image, in order.
        timing: Where the time went.
        n_rebuilds: Images whose neighbours were listed anew.
    """

    results: tuple[Prediction | PosterionError, ...]
    timing: Timing
    n_rebuilds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsRequest:
    """What the steps of a session have in common.

    Attributes:
        structure: The atoms; every image has them.
        n_images: Images that are evaluated together in each step.
        skin: How far beyond the cutoff neighbours are listed, Angstrom.
        options: How the images are evaluated.
    """

    structure: Structure
    n_images: int
    skin: float
    options: EvaluationOptions


class Stepper(Protocol):
    """Evaluates the steps of one session with one version, which it keeps in memory."""

    @property
    def model(self) -> ModelIdentity:
        """The version, whatever its alias does meanwhile."""
        ...

    async def step(
        self, positions: FloatArray, cells: FloatArray | None, *, deadline_s: float | None
    ) -> StepReply:
        """Evaluate all images where they are now.

        Args:
            positions: Shape ``(n_images, n_atoms, 3)``, Angstrom.
            cells: Shape ``(n_images, 3, 3)``, Angstrom; None leaves them as they were.
            deadline_s: Seconds from now after which no answer is wanted; None = none.

        Returns:
            One result per image. Whatever it says, the step may be asked again.

        Raises:
            Overloaded: The queue is full.
            Draining: The service is shutting down.
            DeadlineExceeded: The deadline passed first.
            TooLarge: The images have too many pairs together, those in the skin included.
        """
        ...


class SessionBackend(Backend, Protocol):
    """A backend that also serves sessions."""

    async def open_steps(self, name: str, version: str | None, request: StepsRequest) -> Stepper:
        """Load a version and check that it describes a structure.

        Args:
            name: Bank name.
            version: See ``Backend``.
            request: What the steps have in common.

        Returns:
            What evaluates them.

        Raises:
            UnknownModel: No such bank or version.
            NotReady: The bank is still loading.
            Draining: The service is shutting down.
            InvalidRequest: The options do not suit the bank.
            StructureError: The bank does not describe the structure.
            TooLarge: Cutoff and skin hold too many pairs.
        """
        ...

    def on_drain(self, notify: Callable[[], None]) -> None:
        """Have a function called when the service begins to shut down.

        Args:
            notify: May be called in a signal handler.
        """
        ...
