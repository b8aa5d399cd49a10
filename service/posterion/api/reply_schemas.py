"""How replies to predictions are described; a contract test holds the real ones to it."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from posterion.structures.evaluation import GradientScalar
from posterion.structures.prediction import FlagCode, Severity
from posterion.structures.units import EnergyUnit, LengthUnit

ProblemCode = Literal[
    "malformed-body",
    "unauthenticated",
    "forbidden",
    "not-found",
    "unknown-model",
    "method-not-allowed",
    "not-acceptable",
    "version-moved",
    "too-large",
    "unsupported-media-type",
    "invalid-request",
    "quota",
    "internal",
    "overloaded",
    "not-ready",
    "draining",
    "deadline",
    "unsupported-element",
    "unsupported-property",
    "invalid-structure",
    "composition-mismatch",
    "structure-too-large",
    "evaluation-failed",
    "non-finite-result",
]
"""Every code a problem may carry, of requests and of single structures."""

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Version = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Vector = Annotated[list[float], Field(min_length=3, max_length=3)]
Matrix = Annotated[list[Vector], Field(min_length=3, max_length=3)]

_DESCRIBED: Final = ConfigDict(extra="forbid", frozen=True)


class ProblemFault(BaseModel):
    """One place in the request that is wrong."""

    model_config = _DESCRIBED

    pointer: str = Field(description="RFC 6901 JSON pointer into the request.")
    detail: str


class Problem(BaseModel):
    """An error (RFC 9457)."""

    model_config = _DESCRIBED

    type: str = Field(description="urn:posterion:problem:<code>")
    title: str
    status: int
    detail: str
    instance: str = Field(description="urn:request:<X-Request-ID>")
    code: ProblemCode
    errors: Annotated[list[ProblemFault], Field(max_length=10)]
    retryable: bool = Field(description="Whether the same request may succeed later.")


class ModelReference(BaseModel):
    """The version that answered."""

    model_config = _DESCRIBED

    name: str
    version: Version
    digest: Digest
    n_samples: Annotated[int, Field(ge=1)]
    engine: str
    engine_deviation: float | None = Field(
        description="Forces against the float64 reference in the engine's self-test, relative."
    )


class ReplyUnits(BaseModel):
    """Units of every number in a reply."""

    model_config = _DESCRIBED

    length: LengthUnit
    energy: EnergyUnit
    forces: str
    stress: str


class EnergyStd(BaseModel):
    """Standard deviations of the energy."""

    model_config = _DESCRIBED

    epistemic: float
    aleatoric: float
    total: float = Field(description="sqrt(epistemic^2 + aleatoric^2)")


class ForceStd(BaseModel):
    """Standard deviations of the force components."""

    model_config = _DESCRIBED

    epistemic: list[Vector] = Field(description="Shape (n_atoms, 3).")
    aleatoric: list[float] = Field(description="Shape (n_atoms); of each component.")
    total: list[Vector] = Field(description="Shape (n_atoms, 3).")
    max: float = Field(description="Largest e_i = sqrt(mean over components of epistemic^2).")
    rms: float = Field(description="sqrt(mean over atoms of e_i^2).")
    argmax_atom: Annotated[int, Field(ge=0)]


class Samples(BaseModel):
    """What each posterior sample answers; not calibrated."""

    model_config = _DESCRIBED

    energies: list[float] = Field(description="Shape (n_samples).")
    forces: list[list[Vector]] | None = Field(description="Shape (n_samples, n_atoms, 3).")
    stress: list[Matrix] | None = Field(description="Shape (n_samples, 3, 3).")


class UncertaintyDocument(BaseModel):
    """Calibrated standard deviations, split by source."""

    model_config = _DESCRIBED

    kind: Literal["std"]
    calibrated: bool
    energy: EnergyStd
    forces: ForceStd
    samples: Samples | None


class UncertaintyGradientDocument(BaseModel):
    """The exact gradient of one number of the uncertainty."""

    model_config = _DESCRIBED

    of: GradientScalar
    value: float
    unit: str = Field(description="Of the value; the gradient's is this per unit of length.")
    positions: list[Vector] = Field(description="At a fixed cell, shape (n_atoms, 3).")
    cell: Matrix | None = Field(
        description="By the rows of the cell at fixed fractional coordinates; periodic only."
    )


class FlagDocument(BaseModel):
    """A decision about one structure, with the evidence behind it."""

    model_config = _DESCRIBED

    code: FlagCode
    severity: Severity = Field(
        description="candidate: worth a reference calculation; failed: do not use."
    )
    atoms: list[int] = Field(description="Atoms concerned; empty: the whole structure.")
    metric: str
    value: float
    threshold: float
    unit: str
    threshold_source: str
    coverage: float | None
    calibration_id: str | None


class Result(BaseModel):
    """The answer for one structure."""

    model_config = _DESCRIBED

    id: str
    status: Literal["ok", "flagged", "error"]
    energy: float | None
    forces: list[Vector] | None = Field(description="Shape (n_atoms, 3).")
    stress: Matrix | None = Field(description="Positive = tension; fully periodic only.")
    n_samples: int | None = Field(description="Posterior samples evaluated; null with an error.")
    uncertainty: UncertaintyDocument | None
    uncertainty_gradient: UncertaintyGradientDocument | None
    flags: list[FlagDocument]
    error: Problem | None


class TimingDocument(BaseModel):
    """Where the time went, in milliseconds."""

    model_config = _DESCRIBED

    queue: float
    graph: float
    evaluate: float
    total: float


class PredictDocument(BaseModel):
    """The answers to the structures of one request, in their order."""

    model_config = _DESCRIBED

    model: ModelReference
    units: ReplyUnits
    results: list[Result]
    timing_ms: TimingDocument
