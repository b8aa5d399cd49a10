"""The first message of a session: what all its steps have in common."""

from dataclasses import dataclass, replace
from typing import Annotated, Final

from pydantic import Field, ValidationError

from posterion.api.arrays import WrongTypeError, refuse_types
from posterion.api.backend import ModelIdentity
from posterion.api.codec import MediaType, decode
from posterion.api.frame_layout import LAYOUT
from posterion.api.frame_requests import step_bytes
from posterion.api.nesting import NestingLimits
from posterion.api.parsing import read_structure
from posterion.api.replies import model_document, units_document
from posterion.api.schemas import (
    DEFAULT_GRADIENT,
    Output,
    StructureDocument,
    UnitsDocument,
    WireModel,
)
from posterion.api.session_errors import within
from posterion.api.settings import ApiSettings
from posterion.api.stepper import StepsRequest
from posterion.api.validation import not_its_schema
from posterion.errors import Fault, InvalidRequest, StructureError, TooLarge
from posterion.structures.evaluation import EvaluationOptions, GradientScalar, Precision

SUBPROTOCOL: Final = "posterion.session.v1"
LARGEST_SKIN: Final = 5.0
"""Angstrom; a longer one lists more pairs than new lists would cost."""


class SessionRequest(WireModel):
    """The document that opens a session."""

    structure: StructureDocument
    n_images: Annotated[int, Field(ge=1)] = 1
    outputs: Annotated[list[Output], Field(min_length=1, max_length=5)] = Field(
        default=["energy", "forces", "uncertainty"]
    )
    gradient_of: GradientScalar = DEFAULT_GRADIENT
    uncertainty_interval: Annotated[int, Field(ge=1)] = 1
    units: UnitsDocument = UnitsDocument()
    precision: Precision = "float32"
    n_samples: Annotated[int, Field(ge=1)] | None = None
    skin: Annotated[float, Field(ge=0)] | None = None
    digest: str | None = None

    @property
    def gradient(self) -> GradientScalar | None:
        """What the output ``uncertainty_gradient`` is of, if it was asked for."""
        return self.gradient_of if "uncertainty_gradient" in self.outputs else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A checked opening.

    Attributes:
        request: The document.
        steps: What the backend needs of it, in eV and Angstrom.
    """

    request: SessionRequest
    steps: StepsRequest

    def outputs(self, step: int) -> list[Output]:
        """What the reply to one step holds: uncertainty is left out between two intervals."""
        given = self.request.outputs
        if step % self.request.uncertainty_interval == 0:
            return given
        return [name for name in given if name != "uncertainty"]

    def reply(self, model: ModelIdentity) -> dict[str, object]:
        """The document that answers it.

        Args:
            model: The version that will answer every step.
        """
        request, units = self.request, self.request.units.system
        return {
            "model": model_document(model),
            "units": units_document(units),
            "layout": LAYOUT,
            "n_images": request.n_images,
            "n_atoms": self.steps.structure.n_atoms,
            "outputs": request.outputs,
            "gradient_of": request.gradient,
            "uncertainty_interval": request.uncertainty_interval,
            "precision": request.precision,
            "skin": self.steps.skin / units.angstrom,
        }


def read_opening(text: str, settings: ApiSettings) -> Opening:
    """Read and check the message that opens a session.

    Args:
        text: A JSON document.
        settings: Limits.

    Returns:
        The opening.

    Raises:
        MalformedBody: If it is not JSON.
        InvalidRequest: If it does not follow its schema.
        StructureError: If the structure is wrong in shape or physics.
        TooLarge: If a step would exceed the longest frame.
    """
    limits = NestingLimits(depth=settings.max_depth, nodes=settings.max_nodes)
    document = decode(text.encode(), MediaType.JSON, limits)
    if not isinstance(document, dict):
        raise InvalidRequest("expected an object with the field structure")
    try:
        request = SessionRequest.model_validate(document)
    except ValidationError as error:
        raise not_its_schema(error) from None
    _check_combinations(request)
    angstrom = request.units.system.angstrom
    skin = 1.0 if request.skin is None else request.skin * angstrom
    if skin > LARGEST_SKIN:
        raise _fault("/skin", f"expected at most {LARGEST_SKIN} Angstrom")
    try:
        structure = read_structure(request.structure, angstrom, settings)
    except WrongTypeError as error:
        pointer = f"/structure{error.fault.pointer}"
        raise refuse_types((replace(error.fault, pointer=pointer),)) from None
    except StructureError as error:
        raise within("/structure", error) from None
    longest = step_bytes(request.n_images, structure.n_atoms, cells=True)
    if request.n_images > settings.max_structures or longest > settings.max_frame_bytes:
        raise TooLarge(
            f"expected at most {settings.max_structures} images and {settings.max_frame_bytes} "
            f"bytes in a step, got {request.n_images} and {longest}"
        )
    options = EvaluationOptions(
        precision=request.precision,
        n_samples=request.n_samples,
        stress="stress" in request.outputs,
        uncertainty="uncertainty" in request.outputs,
        gradient_of=request.gradient,
    )
    steps = StepsRequest(structure=structure, n_images=request.n_images, skin=skin, options=options)
    return Opening(request=request, steps=steps)


def _check_combinations(request: SessionRequest) -> None:
    if len(set(request.outputs)) != len(request.outputs):
        raise _fault("/outputs", "expected each output once")
    if request.gradient is None and "gradient_of" in request.model_fields_set:
        raise _fault("/gradient_of", "expected uncertainty_gradient among the outputs")
    if (request.structure.numbers is None) == (request.structure.symbols is None):
        raise _fault("/structure", "expected either numbers or symbols")


def _fault(pointer: str, detail: str) -> InvalidRequest:
    return InvalidRequest(f"{pointer}: {detail}", faults=(Fault(pointer=pointer, detail=detail),))
