"""What a run asks at every step, and which sample set must answer it."""

from dataclasses import dataclass
from http import HTTPStatus

from posterion_client._errors import ModelChanged, UnknownModel
from posterion_client._problem import Problem
from posterion_client._request import Target
from posterion_client.md._frames import Outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What stays the same from step to step.

    Attributes:
        outputs: What is answered beside energy and forces.
        uncertainty_interval: Ask for it only at steps whose number this divides.
        precision: ``float32`` or ``float64``.
        n_samples: Evaluate only the first n samples; None = all.
    """

    outputs: Outputs
    uncertainty_interval: int
    precision: str
    n_samples: int | None


@dataclass(slots=True, kw_only=True)
class Pin:
    """The sample set that must answer: the one that answered first.

    Attributes:
        target: What was asked for.
        name: Name of the model that answered; None before.
        digest: Its sample set, or the one that is insisted on from the beginning.
    """

    target: Target
    name: str | None = None
    digest: str | None = None

    def now(self) -> Target:
        """Whom to ask: once an answer came, its version, wherever its alias has moved."""
        if self.name is None:
            return self.target
        return Target(model=self.name, version=self.digest)

    def hold(self, name: str, digest: str) -> None:
        """Check, and remember, who answered.

        Raises:
            ModelChanged: If it is another sample set than before.
        """
        if self.digest is not None and self.digest != digest:
            raise changed(f"held to {self.digest}, but {name} answered with {digest}")
        self.name, self.digest = name, digest

    def lost(self, error: UnknownModel) -> UnknownModel | ModelChanged:
        """What it means that the target is unknown: before any answer, a wrong name."""
        if self.name is None:
            return error
        return changed(
            f"the run began with version {self.digest} of {self.name}, which the service no "
            f"longer has ({error.detail}); it cannot go on with another potential"
        )


def changed(detail: str) -> ModelChanged:
    """The error that another sample set would have answered."""
    problem = Problem(code=ModelChanged.code, status=HTTPStatus.PRECONDITION_FAILED)
    return ModelChanged(detail, problem=problem)
