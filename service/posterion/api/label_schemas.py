"""Which documents carry labels, and how the replies to them are described."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from posterion.api.reply_schemas import Digest, ModelReference, Problem, ReplyUnits
from posterion.api.schemas import EvaluationRequest, WireModel
from posterion.uncertainty.confidence import EnergyConfidence

MOST_LABELS: Final = 10**9
LARGEST_SUM: Final = 1e200

_DESCRIBED: Final = ConfigDict(extra="forbid", frozen=True)

LARGEST_ENERGY: Final = 1e12

LabelEnergy = Annotated[float, Field(ge=-LARGEST_ENERGY, le=LARGEST_ENERGY)]
Formula = Annotated[str, Field(pattern=r"^([A-Z][a-z]?[0-9]*)+$", max_length=1024)]


class ConfidenceState(WireModel):
    """What labels have taught so far: of one version, and of one composition or any."""

    digest: Digest = Field(description="Version that the labels were compared with.")
    n: Annotated[int, Field(ge=0, le=MOST_LABELS)] = Field(description="Residuals seen.")
    sum_squares: Annotated[float, Field(ge=0.0, le=LARGEST_SUM)] = Field(
        description="Sum of (residual / standard deviation)^2."
    )
    offset: LabelEnergy | None = Field(
        description="Reference minus prediction that is no error; null until the first label "
        "fixes it, 0 where both count energies from the same zero. In units of the request."
    )
    composition: Formula | None = Field(
        description="Formula, in Hill order, of the structures that the offset is of; null "
        "while there is no offset, and with the offset 0 where any composition may follow."
    )


class LabelsRequest(EvaluationRequest):
    """Structures with their reference energies, and what is known from earlier ones."""

    energies: Annotated[list[LabelEnergy | None], Field(min_length=1)] = Field(
        description="Reference energy of each structure; null where there is none, and only "
        "the confidence is wanted."
    )
    threshold: Annotated[float, Field(gt=0.0, le=LARGEST_ENERGY)] = Field(
        description="Error of an energy that is still acceptable."
    )
    state: ConfidenceState | None = Field(
        default=None, description="From the reply to the last request; null = no label yet."
    )


class LabelResult(BaseModel):
    """What one structure, and its label if it has one, say."""

    model_config = _DESCRIBED

    id: str
    status: Literal["ok", "error"]
    energy: float | None
    std: float | None = Field(description="Calibrated total standard deviation of the energy.")
    residual: float | None = Field(
        description="Reference minus prediction minus offset; null without a label."
    )
    confidence: float | None = Field(
        description="Probability that the error is at most the threshold, given the labels "
        "before this structure's own."
    )
    error: Problem | None


class LabelsDocument(BaseModel):
    """The state after all labels, and one result per structure, in their order."""

    model_config = _DESCRIBED

    model: ModelReference
    units: ReplyUnits
    state: ConfidenceState
    results: list[LabelResult]


def state_of(document: ConfidenceState | None, *, ev: float) -> EnergyConfidence:
    """Read a state.

    Args:
        document: As it came; None = no label yet.
        ev: Electronvolt per unit of energy of the request.
    """
    if document is None:
        return EnergyConfidence()
    offset = None if document.offset is None else document.offset * ev
    return EnergyConfidence(n=document.n, sum_squares=document.sum_squares, offset=offset)
